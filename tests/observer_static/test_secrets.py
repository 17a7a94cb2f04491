"""Secrets: what must go, and what must stay."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_static.secrets import DEFAULTS, MARK, PatternInvalid, Redactor, is_secret_name
from thermos.errors import ExitCode

REDACTOR = Redactor()
S = "hunter2-Zq"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

#: Text with a secret → what it is to become.
GO = {
    f"PASSWORD={S} ./server": f"PASSWORD={MARK} ./server",
    f"export DB_PASSWORD='{S} x'; run": f"export DB_PASSWORD='{MARK}'; run",
    f'PGPASSWORD="{S}" psql': f'PGPASSWORD="{MARK}" psql',
    f"MYSQL_PWD={S} mysql": f"MYSQL_PWD={MARK} mysql",
    f"env -i SECRET_KEY_BASE={S} rails s": f"env -i SECRET_KEY_BASE={MARK} rails s",
    f"AWS_SECRET_ACCESS_KEY=/{S}/abc cmd": f"AWS_SECRET_ACCESS_KEY={MARK} cmd",
    f"TOKEN_A={S}": f"TOKEN_A={MARK}",
    f"PASSWORD2={S}": f"PASSWORD2={MARK}",
    "PASSWORD=123456": f"PASSWORD={MARK}",
    f'PASSWORD={S}"more {S}"tail next': f"PASSWORD={MARK} next",
    f'PASSWORD="a\\"{S}" next': f'PASSWORD="{MARK}" next',
    f"server --token {S} --port 80": f"server --token {MARK} --port 80",
    f"server --token={S} --port 80": f"server --token={MARK} --port 80",
    f"server --auth-token \\\n  '{S}' --port 80": f"server --auth-token \\\n  '{MARK}' --port 80",
    f"server -password {S}": f"server -password {MARK}",
    f"server --api-key {S}": f"server --api-key {MARK}",
    f"server --apiKey={S}": f"server --apiKey={MARK}",
    f"java -Djavax.net.ssl.keyStorePassword={S} -jar x": f"java -Djavax.net.ssl.keyStorePassword={MARK} -jar x",
    f"docker run -e API_TOKEN={S} image": f"docker run -e API_TOKEN={MARK} image",
    f'echo "{{\\"password\\": \\"{S}\\"}}" > x': f'echo "{{\\"password\\": \\"{MARK}\\"}}" > x',
    f'echo \'{{"clientSecret": "{S}", "port": 1}}\'': f'echo \'{{"clientSecret": "{MARK}", "port": 1}}\'',
    f"cat <<E\ndb:\n  password: {S}\n  port: 1\nE": f"cat <<E\ndb:\n  password: {MARK}\n  port: 1\nE",
    f'cat <<E\npassword = "{S}"\nE': f'cat <<E\npassword = "{MARK}"\nE',
    f"curl -H 'Authorization: Bearer {S}abc' u": f"curl -H 'Authorization: Bearer {MARK}' u",
    f'curl -H "Authorization: {S}" u': f'curl -H "Authorization: {MARK}" u',
    f'curl -H "X-Vault-Token: {S}" u': f'curl -H "X-Vault-Token: {MARK}" u',
    f'curl -H "Cookie: a=1; session={S}" u': f'curl -H "Cookie: {MARK}" u',
    f"curl -sS -u bob:{S} u": f"curl -sS -u bob:{MARK} u",
    f"curl 'https://h/x?access_token={S}&n=1'": f"curl 'https://h/x?access_token={MARK}&n=1'",
    f"curl https://bob:{S}@h/x": f"curl https://bob:{MARK}@h/x",
    f"psql postgres://u:p@{S}@h/db": f"psql postgres://u:{MARK}@h/db",
    f"REDIS=redis://:{S}@h:1": f"REDIS=redis://:{MARK}@h:1",
    "git clone https://0123456789abcdef0123@h/x": f"git clone https://{MARK}@h/x",
    f"mysqldump -h h -p{S} db": f"mysqldump -h h -p{MARK} db",
    f"sshpass -p {S} ssh h": f"sshpass -p {MARK} ssh h",
    f"redis-cli -h h -a {S} ping": f"redis-cli -h h -a {MARK} ping",
    f"docker login -u bob -p {S} h": f"docker login -u bob -p {MARK} h",
    f"openssl rsa -passin pass:{S} -in k": f"openssl rsa -passin pass:{MARK} -in k",
    f"kubectl create secret generic s --from-literal=k={S}": f"kubectl create secret generic s --from-literal=k={MARK}",
    f"Server=h;Uid=u;Pwd={S};Port=1": f"Server=h;Uid=u;Pwd={MARK};Port=1",
    f"x --set db.password={S},port=1": f"x --set db.password={MARK},port=1",
    f"echo ${{DB_PASSWORD:-{S}}}": f"echo ${{DB_PASSWORD:-{MARK}}}",
    "say AKIAIOSFODNN7EXAMPLE now": f"say {MARK} now",
    "say ghp_" + "a1" * 18 + " now": f"say {MARK} now",
    f"say {JWT} now": f"say {MARK} now",
    f"http GET h 'Bearer {JWT[:30]}'": f"http GET h 'Bearer {MARK}'",
    "say xoxb-123456789012-abcdef now": f"say {MARK} now",
    "k='-----BEGIN RSA PRIVATE KEY-----\nMIIB\nxyz\n-----END RSA PRIVATE KEY-----'": (
        f"k='-----BEGIN RSA PRIVATE KEY-----{MARK}-----END RSA PRIVATE KEY-----'"
    ),
    "-----BEGIN PRIVATE KEY-----\nMIIB cut": f"-----BEGIN PRIVATE KEY-----{MARK}",
}

#: What must stay as it is.
STAY = (
    "server --key-file=/etc/x",
    "server --key-file /etc/x --tls-key /etc/tls/x.key",
    "TOKENIZER=bert-base TOKENIZERS_PARALLELISM=false train",
    "PASSWORD_FILE=/run/secret",
    "PASSWORD=/run/secrets/db POSTGRES_PASSWORD_FILE=/x",
    "sort -k token file",
    "sort --key 2,2 file",
    "sort --key=2,2 --sort-key name",
    "PWD=/tmp/x OLDPWD=/x make",
    "cd $PWD && echo $TOKEN",
    'PASSWORD=$DB_PASSWORD SECRET="${OTHER}" run',
    'TOKEN=$(vault read -field=x y) TOKEN="$(cat /run/t)"',
    "TOKEN=`cat /run/t` run",
    "PASSWORD={{profile.word}} run",
    "--max-tokens 4096 --max_tokens=4096 MAX_TOKENS=10",
    "TOKEN_URL=https://h/oauth TOKEN_TTL=3600 TOKEN_COUNT=3",
    "SECRET_NAME=db-main SECRET_VERSION=3 --secret-id db",
    "docker login --password-stdin h",
    "mysql --password --host h",
    "MYSQL_ALLOW_EMPTY_PASSWORD=yes",
    "ALLOW_PASSWORD=false",
    "docker build --secret id=npm,src=/x .",
    "docker run -u 1000:1000 image",
    "chown bob:users x",
    "GOOGLE_APPLICATION_CREDENTIALS=/etc/g.json run",
    "ssh -i ~/.ssh/id_rsa h",
    "run --ssh-key ~/.ssh/id_rsa --private-key ./k.pem",
    "run --tls-private-key certs/x.pem SIGNING_KEY=keys/sign.pem",
    "grep -r password src",
    "grep -c secret= x | wc",
    "echo the secret of success, a token of love",
    "./passenger --bypass --compass=north --passive keyboard=us monkey=1",
    "AUTHOR=me --author=me AUTH_TYPE=basic",
    "git clone https://h/x.git && git clone git@h:x.git && curl https://bob@h/",
    "https://${USER}:${PASS}@h/",
    'if [ -z "$TOKEN" ]; then exit 1; fi',
    "export TOKEN",
    "TOKEN= run",
    "--no-password -w",
    "sk-learn-extra npm_config_cache=/x eyJhb.x",
    "bearer of bad news",
    "mysql -P 3306 -h h db",
    "PRIMARY_KEY=id FOREIGN_KEY=user_id KEY=value",
    "python -m http.server {{thermos.ports[http]}}",
)


@pytest.mark.parametrize(("text", "shown"), GO.items())
def test_a_secret_goes_and_the_rest_stays(text: str, shown: str) -> None:
    assert REDACTOR.text(text) == (shown, 1)
    assert REDACTOR.text(shown) == (shown, 0)
    assert Redactor(off=True).text(text) == (text, 0)


@pytest.mark.parametrize("text", STAY)
def test_what_is_no_secret_stays(text: str) -> None:
    assert REDACTOR.text(text) == (text, 0)


def test_all_of_several_go() -> None:
    text, count = REDACTOR.text(f"A_TOKEN={S} b --password {S}x; curl https://u:{S}@h && echo $A_TOKEN")
    assert count == 3
    assert text == f"A_TOKEN={MARK} b --password {MARK}; curl https://u:{MARK}@h && echo $A_TOKEN"


@pytest.mark.parametrize(
    ("value", "shown", "count"),
    [
        ({"password": S, "port": 80}, {"password": MARK, "port": 80}, 1),
        ({"processes": [{"cmdline": f"TOKEN={S} x"}]}, {"processes": [{"cmdline": f"TOKEN={MARK} x"}]}, 1),
        ({"env": [{"name": "DB_PASSWORD", "value": S}]}, {"env": [{"name": "DB_PASSWORD", "value": MARK}]}, 1),
        ({"env": [{"name": "PORT", "value": "80"}]}, {"env": [{"name": "PORT", "value": "80"}]}, 0),
        ({"secrets": [S, S]}, {"secrets": [MARK, MARK]}, 2),
        ({"apiKey": 12345678}, {"apiKey": MARK}, 1),
        ({"max_tokens": 100, "password": None, "use_token": True}, None, 0),
        ({"tokenFile": "/x", "keys": {"a": [1, None, 2.5]}}, None, 0),
    ],
)
def test_json(value: Any, shown: Any, count: int) -> None:
    before = json.dumps(value)
    assert REDACTOR.json(value) == (value if shown is None else shown, count)
    assert json.dumps(value) == before, "what was given was changed"


def test_patterns_of_ones_own() -> None:
    redactor = Redactor((*DEFAULTS, r"case-(\d+)", r"blue\w+"))
    assert redactor.text(f"case-123 bluebird TOKEN={S}") == (f"case-{MARK} {MARK} TOKEN={MARK}", 3)
    with pytest.raises(PatternInvalid, match="no regular expression") as caught:
        Redactor(("(",))
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("name", ["dbPassword", "X-Api-Key", "SSHPASSPHRASE", "auth.token", "AWS_SESSION_TOKEN"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


HOSTILE = (
    "password=", 'password="', "password='", '\\"password\\": \\"', "TOKEN=$(", "${TOKEN:-", "eyJ-", "eyJaaaaaaaaaaa.",
    "mysql -h ", "curl -x -u ", "://a:", "://", "-----BEGIN PRIVATE KEY-----", "a-", "aB", "token,", "token=,a",
    "Authorization: ", "Bearer ", "--token ", "\\\n", "password=\\", "\\", '"', "xoxb-", "[?&sig=", "$" , "{{", "<a ",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear(piece: str) -> None:
    """Eight times the text takes no more than about eight times as long."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        best = 1e9
        for _ in range(3):
            begin = time.perf_counter()
            REDACTOR.text(text)
            best = min(best, time.perf_counter() - begin)
        return best

    small, large = seconds(20_000), seconds(160_000)
    assert large < 0.3 or large < 24 * small, f"{small:.4f} s → {large:.4f} s"


@given(st.lists(st.sampled_from([*HOSTILE, *GO, *STAY, " ", "\n", "x", "=", ":"]), max_size=20))
def test_nothing_raises_and_once_is_enough(pieces: list[str]) -> None:
    text = "".join(pieces)
    once, count = REDACTOR.text(text)
    assert (count == 0) == (once == text)
    assert REDACTOR.json({"a": [text]})[0] == {"a": [once]}
