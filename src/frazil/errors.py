"""Everything frazil raises on purpose.

Every message says what was given, what was expected, and what to do next; the command line prints it as one line and
exits with status 1. Each child is also the builtin that ordinary ``except`` clauses expect::

    FrazilError
    ├── ProductNotFoundError (FileNotFoundError)   nothing at this path that looks like a product
    ├── ProductError (ValueError)                  a product that is broken, truncated, foreign or hostile
    ├── UnsupportedProductError (ValueError)       a sound product that this verb does not handle
    ├── OptionError (ValueError)                   an argument outside what is possible
    ├── ContractError (ValueError)                 a Dataset that is not a scene or a map
    ├── ModelError (ValueError)                    a model that is broken or does not fit the scene
    ├── TrainingError (ArithmeticError)            a training whose loss is no longer a number
    ├── ServerError (ConnectionError)              a parameter server that does not answer, or refuses a worker
    ├── ArchiveError (ConnectionError)             an archive of products that does not answer, refuses, or sends wrong
    ├── CredentialsError (PermissionError)         a name or password for an archive that is missing or not taken
    ├── LabelNotFoundError (FileNotFoundError)     no chart, polygons, class raster or patch set at this path
    ├── LabelError (ValueError)                    labels that are broken, unknown, or do not fit the scene
    ├── OutputExistsError (FileExistsError)        an output is there already, and overwriting was not asked for
    ├── OutputError (OSError)                      an output could not be written
    └── MissingDependencyError (ImportError)       an optional package is not installed
"""

_LETTERS = 3000  # of a message


class FrazilError(Exception):
    """Base class of every error that frazil raises on purpose.

    What a message quotes may be the words of a stranger, and as long as they like: the middle of very long ones is
    left out.
    """

    def __str__(self) -> str:
        """The message: one line, of at most 3000 letters."""
        text = " ".join(super().__str__().splitlines())
        return text if len(text) <= _LETTERS else f"{text[: _LETTERS * 2 // 3]} … {text[-_LETTERS // 4 :]}"


class ProductNotFoundError(FrazilError, FileNotFoundError):
    """Nothing at the path looks like a product of a radar that frazil reads."""


class ProductError(FrazilError, ValueError):
    """The product is broken, truncated, foreign or hostile."""


class UnsupportedProductError(FrazilError, ValueError):
    """The product is sound, but this verb does not handle its kind."""


class OptionError(FrazilError, ValueError):
    """An argument lies outside what is possible."""


class ContractError(FrazilError, ValueError):
    """A Dataset does not follow the conventions of a scene or a map."""


class ModelError(FrazilError, ValueError):
    """A model is broken or does not fit the scene."""


class TrainingError(FrazilError, ArithmeticError):
    """A training whose loss is no longer a number."""


class ServerError(FrazilError, ConnectionError):
    """A parameter server does not answer, or refuses a worker."""


class ArchiveError(FrazilError, ConnectionError):
    """An archive of products does not answer, refuses, or sends something else than it said."""


class CredentialsError(FrazilError, PermissionError):
    """A name, a password or a key for an archive is missing, or the archive does not take it."""


class LabelNotFoundError(FrazilError, FileNotFoundError):
    """No chart, polygon file, class raster or patch set at the path."""


class LabelError(FrazilError, ValueError):
    """Labels are broken, use codes that are not known, or do not fit the scene."""


class OutputExistsError(FrazilError, FileExistsError):
    """An output is there already, and overwriting was not asked for."""


class OutputError(FrazilError, OSError):
    """An output could not be written."""


class MissingDependencyError(FrazilError, ImportError):
    """An optional package is not installed."""


def printable(text: str) -> str:
    r"""The text with everything that a terminal would obey written out.

    Control characters, characters that turn the direction of writing, and bytes that are no UTF-8 become escapes;
    letters of all scripts, and line ends, stay.

    >>> printable("a" + chr(27) + "[2J") == "a" + chr(92) + "x1b[2J"
    True
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def is_utf8(name: str) -> bool:
    """Whether a name of a file can be written as UTF-8: Python keeps the bytes of others as lone surrogates."""
    return name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name)
