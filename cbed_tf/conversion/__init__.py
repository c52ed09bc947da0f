"""Archive -> data set, and whether a data set still is what was written.

The way through: `convert` scans the archive, plans the shards (`plan`), has them written (`shard`,
`rescue`) and adds up what they make (`finish`).
"""
