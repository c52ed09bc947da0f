"""Shards -> samples in a seeded order: positioned reads (`gather`) or tf.data's (`stream`)."""
