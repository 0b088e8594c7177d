"""The exceptions that pykickstart names."""


class RequestException(IOError):
    """Nothing is fetched."""


class SSLError(RequestException):
    """Nothing is fetched."""
