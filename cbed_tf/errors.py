"""The two kinds of refusal: of a whole request, and of one sample."""


class CbedError(Exception):
    """A request that cannot be carried out; the message tells the user what would be right."""


class SampleError(CbedError):
    """A sample that cannot be trusted; the message is the reason, without file and sample."""
