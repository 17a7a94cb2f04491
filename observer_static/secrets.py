"""Values that look like secrets, made unreadable: in commands, in definitions, in sentences.

Two things give a secret away: the *name* it is given (``DB_PASSWORD=…``, ``--token …``, ``"apiKey": "…"``,
``X-Vault-Token: …``) and its *shape* (``https://user:…@host``, an AWS key, a JWT, a PEM block).

A name counts by its words, not by its letters: ``TOKENIZER`` holds no token. What names something *about* a secret, a
file, a length, an address, is left alone (``PASSWORD_FILE``, ``--key-file``, ``TOKEN_URL``), and so are values that
are no secrets themselves: references to variables, paths, switches. Time is linear in the length of the text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from observer_static.own_patterns import OwnPatterns, PatternInvalid, TooSlow

__all__ = ["DEFAULTS", "MARK", "SLOW_MARK", "PatternInvalid", "Redactor", "is_secret_name", "is_secret_value"]

#: What stands in a secret's place.
MARK: Final = "[redacted]"
#: In that of a text which an operator's pattern could not look through in time.
SLOW_MARK: Final = "[redacted: a pattern of --redact takes too long here]"

#: Shapes of secrets: regular expressions; where one has a group, only the first group is the secret.
#: Each begins with something rare, and repeats only what is bounded or cannot begin anew, so that it takes linear time.
DEFAULTS: Final[tuple[str, ...]] = (
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY-----([\s\S]*?)(?:-----END|\Z)",
    r"(?<=://)[^\s/:@\"'<>]{0,256}:([^\s/\"'<>]{1,256})@",  # https://user:password@host
    r"(?<=://)([^\s/:@\"'<>]{20,256})@",  # https://token@host
    r"[?&](?:sig|signature|x-amz-signature|x-goog-signature)=([^\s&\"'<>]{8,})",
    r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])",  # AWS
    r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
    r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{22,255}",
    r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,255}",  # GitLab
    r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,255}",  # Slack
    r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,255})",
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?",  # JWT
    r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}",  # Stripe
    r"(?<![A-Za-z0-9])sk-(?:(?:proj|ant|svcacct)-[A-Za-z0-9_-]{20,255}|[A-Za-z0-9]{32,255})",  # OpenAI, Anthropic
    r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",  # Google
    r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}",
    r"(?<![A-Za-z0-9])pypi-[A-Za-z0-9_-]{50,255}",
    r"(?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_-]{20,255}",  # Vault
    r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}",  # SendGrid
    r"(?<![A-Za-z0-9])do[opr]_v1_[a-f0-9]{64}",  # DigitalOcean
    r"(?<![A-Za-z0-9])AGE-SECRET-KEY-1[0-9A-Z]{58}",
    r"(?<![A-Za-z0-9])[Bb]earer {1,4}([A-Za-z0-9._~+/=-]{16,})",
    # Programs that take a password as a short option, or as an argument of a form of their own.
    r"(?<![\w-])mysql(?:dump|admin|import)?\s[^\n;|&]{0,200}?(?<=\s)-p([^\s;|&]{1,256})",
    r"(?<![\w-])curl\s[^\n;|&]{0,200}?(?<=\s)(?:-u|-U|--user|--proxy-user)[ =]?[\"']?[^\s:\"']{1,200}"
    r":([^\s\"';|&]{1,256})",
    r"(?<![\w-])sshpass\s{1,8}-p\s{0,8}[\"']?([^\s\"']{1,256})",
    r"(?<![\w-])redis-cli\s[^\n;|&]{0,200}?(?<=\s)-a\s{1,8}[\"']?([^\s\"';|&]{1,256})",
    r"(?<![\w-])docker\s{1,8}login\s[^\n;|&]{0,200}?(?<=\s)-p[ =]{1,8}[\"']?([^\s\"';|&]{1,256})",
    r"(?<![\w-])-?-pass(?:in|out)?\s{1,8}[\"']?pass:([^\s\"';|&]{1,256})",  # openssl
    r"--from-literal[= ][\"']?[^=\s]{1,128}=([^\s\"';|&]{1,4096})",  # kubectl create secret
)

#: Without any of these, a text has neither a name nor a shape of the above.
_HINT: Final = re.compile(
    r"pass|pwd|secret|token|key|cred|auth|cookie|://|[?&](?:sig|x-)|AKIA|ASIA|gh[pousr]_|github_|glpat-|xox|hooks\."
    r"|eyJ|[sr]k[-_]|AIza|npm_|pypi-|hv[sbr]\.|SG\.|do[opr]_v|bearer|mysql|curl|redis-|docker|literal",
    re.IGNORECASE,
)

# -- Names ------------------------------------------------------------------------------------------------------------

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

#: A name with one of these words is that of a secret.
_SECRET: Final = frozenset({
    "password", "passwords", "passwd", "passphrase", "pass", "pwd", "secret", "secrets", "token", "tokens",
    "credential", "credentials", "cred", "creds", "apikey", "authorization", "cookie", "setcookie",
})  # fmt: skip
#: So is one that ends with one of these, written together: ``PGPASSWORD``.
_ENDINGS: Final = (
    "password", "passwd", "passphrase", "secret", "apikey", "authtoken", "accesstoken", "secretkey", "privatekey",
    "accesskey",
)  # fmt: skip
#: ``key`` alone says nothing (``--sort-key``); after one of these it is a secret.
_BEFORE_KEY: Final = frozenset({
    "api", "access", "secret", "private", "encryption", "signing", "master", "auth", "account", "storage", "license",
    "service", "deploy", "ssh", "hmac", "crypto", "shared", "consumer", "app", "application", "session", "webhook",
    "integration", "ingest", "subscription",
})  # fmt: skip
#: Last words of names of something about a secret, which is none itself.
_ABOUT: Final = frozenset({
    "age", "alg", "algorithm", "arn", "audience", "batch", "bucket", "buckets", "budget", "check", "class", "cmd",
    "column", "command", "config", "count", "days", "dir", "directory", "disabled", "enabled", "encoding", "endpoint",
    "env", "exe", "expiration", "expires", "expiry", "field", "file", "filename", "files", "flag", "format", "header",
    "helper", "host", "hours", "id", "ids", "index", "interval", "issuer", "kind", "label", "len", "length", "limit",
    "limits", "location", "manager", "max", "min", "minutes", "mode", "model", "mount", "ms", "name", "names", "owner",
    "parallelism", "path", "paths", "policy", "port", "position", "prefix", "program", "prompt", "provider", "rate",
    "ref", "refresh", "region", "required", "ring", "rotation", "scope", "scopes", "seconds", "server", "size",
    "source", "stdin", "store", "strength", "suffix", "through", "timeout", "tool", "ttl", "type", "uri", "url",
    "urls", "usage", "user", "username", "validation", "var", "variable", "version", "volume", "window",
})  # fmt: skip
#: Words that a number may follow without being a secret: ``MAX_TOKENS=4096``, ``FIRST_PASS=1``.
_COUNTED: Final = frozenset({"tokens", "pass", "cookie", "cred", "creds"})


@functools.lru_cache(maxsize=2048)  # the same few names stand in every definition
def is_secret_name(name: str) -> bool:
    """Whether a variable, option or field of that name holds a secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and words[-1].isdigit():  # PASSWORD2
        words.pop()
    if not words or words[-1] in _ABOUT:
        return False
    if name in ("PWD", "OLDPWD"):  # the shell's directories
        return False
    if any(word in _SECRET or word.endswith(_ENDINGS) for word in words):
        return True
    return any(first in _BEFORE_KEY and second == "key" for first, second in pairwise(words))


def _is_key(name: str) -> bool:
    """Whether it is a key rather than a password: what names a key is often given its file."""
    words = {word.lower() for word in _WORDS.findall(name)}
    return "key" in words and "secret" not in words


# -- Values -----------------------------------------------------------------------------------------------------------

#: References, whose values are elsewhere.
_REFERENCE: Final = re.compile(
    r"(?:\$\w+|\$\{\w+[^}\w]?\}|\$\([^)]*\)|`[^`]*`|\{\{[^}]*\}\}|%\w+%|\$\{\{[^}]*\}\}|<[\w -]*>|[:@/.,_-])+"
)
_SWITCH: Final = re.compile(r"(?:true|false|yes|no|on|off|none|null|nil|undefined|\*+|x+|\.\.\.|…)?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9.]+")
#: A path, by how it begins: a random text does not begin so.
_PATH: Final = re.compile(
    r"(?:file:|\.{1,2}/|~/|~\w+/|/(?:app|conf|config|data|dev|etc|home|mesos|mnt|opt|private|proc|root|run|secret|"
    r"secrets|srv|sys|tmp|usr|var|vault|work)(?:/|\Z))"
)
_KEY_FILE: Final = re.compile(r"[~./][\w.+@~/-]*|[\w.+@~/-]+\.(?:pem|key|crt|cer|pub|json|jks|p12|pfx|asc|gpg)")
#: ``--secret id=…`` of a build, which names one.
_SECRET_SPEC: Final = re.compile(r"(?:id|type|src|source|target|env)=")


def is_secret_value(name: str, value: str) -> bool:
    """Whether *value*, given to something called *name*, is the secret itself."""
    if _SWITCH.fullmatch(value) or _REFERENCE.fullmatch(value) or value == MARK:
        return False
    if _PATH.match(value) or _SECRET_SPEC.match(value):
        return False
    if _is_key(name) and _KEY_FILE.fullmatch(value):
        return False
    if _NUMBER.fullmatch(value):
        words = [word.lower() for word in _WORDS.findall(name)]
        return words[-1] not in _COUNTED if words else True
    return True


# -- Where names and values stand -------------------------------------------------------------------------------------

_RUN: Final = re.compile(r"[A-Za-z0-9_.-]+")
_MAX_NAME: Final = 100
#: A quoted value is looked through this far for its end.
_MAX_VALUE: Final = 16384

_EQUALS: Final = re.compile(r"\+?=(?!=)")
_QUOTED_NAME: Final = re.compile(r"\\{0,3}[\"']\s{0,8}(?:=>|[:=])\s{0,8}")
_COLON: Final = re.compile(r":[ \t]{1,8}")
_SPACED: Final = re.compile(r"[ \t]{1,8}=[ \t]{1,8}(?=[^=\s])")
_DEFAULT: Final = re.compile(r":?[-=]")
_OPTION: Final = re.compile(r"(?:[ \t]|\\\r?\n){1,16}(?=[^\s\-|&;<>])")
_OPEN: Final = re.compile(r"\\{0,3}[\"']")
_BARE: Final = re.compile(r"(?:[^\s;|&<>()\"'`,]|,(?![A-Za-z_][\w.-]*[=:]))+")
_TO_END: Final = re.compile(r"[^\"'\r\n]*")
_SCHEME: Final = re.compile(r"[A-Za-z0-9-]{1,32} {1,4}")


def _by_name(text: str) -> Iterator[tuple[int, int]]:
    """Where the secrets of *text* stand that names give away."""
    position = 0
    while (run := _RUN.search(text, position)) is not None:
        begin, end = run.span()
        name = text[max(begin, end - _MAX_NAME) : end]
        position = end
        if not is_secret_name(name):
            continue
        found = _value(text, begin, end, name)
        if found is not None:
            value_begin, value_end = found
            if is_secret_value(name, text[value_begin:value_end]):
                yield found
                position = max(value_end, end)


def _value(text: str, begin: int, end: int, name: str) -> tuple[int, int] | None:
    """Where the value stands that is given to the name between *begin* and *end*; None: none is."""
    if text.startswith("${", begin - 2) and (default := _DEFAULT.match(text, end)):
        close = text.find("}", default.end(), default.end() + _MAX_VALUE)
        return (default.end(), close) if close >= 0 else None
    if separator := _QUOTED_NAME.match(text, end) or _SPACED.match(text, end):
        return _given(text, separator.end(), begin)
    if separator := _EQUALS.match(text, end):
        return _given(text, separator.end(), begin)
    if separator := _COLON.match(text, end):
        lower = name.lower()
        if lower.endswith("authorization"):
            start = separator.end()
            scheme = _SCHEME.match(text, start)
            return _trimmed(text, scheme.end() if scheme else start)
        if lower.endswith("cookie"):
            return _trimmed(text, separator.end())
        return _given(text, separator.end(), begin)
    if text[begin] == "-" and end - begin > 2 and (separator := _OPTION.match(text, end)):
        return _given(text, separator.end(), begin)
    return None


def _trimmed(text: str, start: int) -> tuple[int, int]:
    """The rest of a header, up to the quote that ends it or the end of its line."""
    match = _TO_END.match(text, start)
    end = match.end() if match is not None else start
    while end > start and text[end - 1] in " \t\\":
        end -= 1
    return start, end


def _given(text: str, start: int, name_begin: int) -> tuple[int, int] | None:
    """The value that begins at *start*: quoted, or up to what ends a word."""
    if text.startswith(("$(", "`"), start):  # what a command says
        return None
    if text.startswith("$'", start):
        start += 1
    opening = _OPEN.match(text, start)
    if opening is not None:
        close = _closing(text, opening.end(), opening.group())
        return opening.end(), close
    bare = _BARE.match(text, start)
    if bare is None:
        return None
    end = bare.end()
    # abc"def": a quote that opens here is part of the word; one that was open before ends it.
    while end < len(text) and text[end] in "\"'" and _is_outside(text, name_begin, text[end]):
        end = min(_closing(text, end + 1, text[end]) + 1, len(text))
        more = _BARE.match(text, end)
        end = more.end() if more is not None else end
    return start, end


def _closing(text: str, start: int, quote: str) -> int:
    """Where the text quoted with *quote* ends that begins at *start*; the end of the line if it is not closed."""
    limit = min(start + _MAX_VALUE, len(text))
    at = text.find(quote, start, limit)
    if quote == '"':
        while at > start and text[at - 1] == "\\" and (at - len(text[start:at].rstrip("\\")) - start) % 2:
            at = text.find(quote, at + 1, limit)
    if at >= 0:
        return at
    end = text.find("\n", start, limit)
    return end if end >= 0 else limit


def _is_outside(text: str, position: int, quote: str) -> bool:
    """Whether no *quote* is open at *position* of its line."""
    begin = max(text.rfind("\n", 0, position) + 1, position - 4096)
    return text.count(quote, begin, position) % 2 == 0


# -- The redactor -----------------------------------------------------------------------------------------------------


#: What is no longer than this is looked through once, though several pages say it.
_SHORT: Final = 1024


class Redactor:
    """Makes values unreadable that look like secrets: by the names they are given, and by *patterns*.

    Of what a pattern matches, its first group is the secret, or all of it; a text that one of them cannot look through
    in time is unreadable as a whole. *off*: leave everything as it is. Raises PatternInvalid.
    """

    def __init__(self, patterns: Sequence[str] = DEFAULTS, off: bool = False) -> None:
        self._off = off
        # A task's page, those of its processes and its definition say the same things.
        self._short = functools.lru_cache(256)(self._found)
        self._shapes = [re.compile(pattern) for pattern in patterns if pattern in DEFAULTS]
        self._own = OwnPatterns([pattern for pattern in patterns if pattern not in DEFAULTS])

    @property
    def notices(self) -> tuple[str, ...]:
        """In words: which patterns were given up, so that nothing is readable."""
        return self._own.notices

    def text(self, text: str) -> tuple[str, int]:
        """*text*, such as a command, and how many values in it were made unreadable."""
        if self._off:
            return text, 0
        return self._short(text) if len(text) <= _SHORT else self._found(text)

    def _found(self, text: str) -> tuple[str, int]:
        found: list[tuple[int, int]] = []
        if _HINT.search(text):
            found += _by_name(text)
            found += self._by_shape(text)
        try:
            found += (span for span in self._own.spans(text) if span[0] < span[1] and not _is_marked(text, span[0]))
        except TooSlow:
            return SLOW_MARK, 1
        if not found:
            return text, 0
        pieces, count, at = [], 0, 0
        for begin, end in _merged(found):
            pieces += [text[at:begin], MARK]
            count += 1
            at = end
        return "".join([*pieces, text[at:]]), count

    def _by_shape(self, text: str) -> Iterator[tuple[int, int]]:
        for pattern in self._shapes:
            group = 1 if pattern.groups else 0
            for match in pattern.finditer(text):
                begin, end = match.span(group)
                if begin < end and not _is_marked(text, begin) and not _REFERENCE.fullmatch(text, begin, end):
                    yield begin, end

    def line(self, text: str) -> str:
        """*text*, such as a sentence, without its secrets."""
        return self.text(text)[0]

    def json(self, value: Any) -> tuple[Any, int]:
        """A copy of parsed JSON, and how many values in it were made unreadable."""
        if self._off:
            return value, 0
        count = 0
        top: list[Any] = [value]
        # (what to copy, where the copy goes, its key there, whether a name says that it is secret)
        waiting: list[tuple[Any, Any, Any, str | None]] = [(value, top, 0, None)]
        while waiting:
            item, home, key, name = waiting.pop()
            if isinstance(item, dict):
                copy: dict[str, Any] = dict.fromkeys(item)
                home[key] = copy
                given = item.get("name", item.get("key"))
                named = given if isinstance(given, str) and len(item) <= 4 and is_secret_name(given) else None
                for below, inner in item.items():
                    is_secret = is_secret_name(below[-_MAX_NAME:])
                    known = below if is_secret else named if below == "value" else None
                    waiting.append((inner, copy, below, known))
            elif isinstance(item, list):
                copies: list[Any] = [None] * len(item)
                home[key] = copies
                waiting.extend((inner, copies, place, name) for place, inner in enumerate(item))
            elif isinstance(item, str):
                if name is not None and is_secret_value(name, item):
                    home[key] = MARK
                    count += 1
                else:
                    home[key], more = self.text(item)
                    count += more
            elif name is not None and not isinstance(item, bool) and item is not None:
                is_secret = is_secret_value(name, str(item)[:_MAX_NAME])
                home[key] = MARK if is_secret else item
                count += is_secret
            else:
                home[key] = item
        return top[0], count


def _is_marked(text: str, begin: int) -> bool:
    """Whether something was made unreadable there before."""
    return text.startswith((MARK, SLOW_MARK), begin)


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """*spans* in order, those that overlap as one."""
    spans.sort()
    begin, end = spans[0]
    for next_begin, next_end in spans[1:]:
        if next_begin > end:
            yield begin, end
            begin, end = next_begin, next_end
        else:
            end = max(end, next_end)
    yield begin, end
