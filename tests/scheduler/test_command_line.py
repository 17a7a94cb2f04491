"""Whatever an operator writes wrong is told in one go, each with its flag, before anything is begun."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from scheduler.command_line import read_command_line
from scheduler.flags import FLAGS, RANGES
from scheduler.main import COMMANDS, build_parser, main
from scheduler.options import Options, OptionsInvalid, options_of
from scheduler.retired_flags import RETIRED

ROOT = Path(__file__).parents[2]
SPEC = ROOT.parent / "shared" / "spec" / "aurora-behaviour.md"
NEEDED = ("-mesos_master_address=zk://h/mesos", "-thermos_executor_path=/usr/bin/thermos_executor")


def read(*words: str, needed: tuple[str, ...] = NEEDED) -> Options:
    return options_of(read_command_line(build_parser(), [*needed, *words], COMMANDS), "host.example")


def wrong(*words: str, needed: tuple[str, ...] = NEEDED) -> OptionsInvalid:
    with pytest.raises(OptionsInvalid) as caught:
        read(*words, needed=needed)
    return caught.value


def said(*words: str) -> tuple[str, ...]:
    return wrong(*words).problems


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pems")
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "2", "-subj", "/CN=here", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
    (directory / "junk").write_text("junk\n")
    return directory


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag, value, what",
    [
        ("http_port", "99999", "should be 0 to 65535"),
        ("http_port", "-1", "should be 0 to 65535"),
        ("http_port", "web", "is no whole number"),
        ("backup_interval", "soon", "is no duration"),
        ("backup_interval", "0s", "should be 100ms to 36500days"),
        ("backup_interval", "-5mins", "is no duration"),
        ("max_saved_backups", "0", "should be 1 to"),
        ("max_saved_backups", "9" * 5000, "is no whole number"),
        ("max_schedule_attempts_per_sec", "nan", "is no number"),
        ("max_schedule_attempts_per_sec", "0", "should be 0.01 to"),
        ("max_tasks_per_schedule_attempt", "-3", "should be 1 to"),
        ("reconciliation_explicit_batch_size", "0", "should be 1 to"),
        ("first_schedule_delay", "99999999weeks", "should be"),
        ("thermos_executor_ram", "1.2.3MB", "is no size"),
        ("thermos_executor_cpu", "-1", "should be 0 to"),
        ("framework_failover_timeout", "0secs", "should be 1secs to"),
        ("cron_timezone", "Mars/Olympus", "there is no time zone"),
        ("partition_aware", "perhaps", "should be true or false"),
        ("mesos_master_address", "bogus://x", "should begin with zk://"),
        ("mesos_master_address", "zk://zk1:port/mesos", "names no ZooKeeper"),
        ("zk_endpoints", "zk1:2181,zk2:70000", "'zk2:70000' should be like"),
        ("zk_chroot_path", "aurora", "should be like /aurora"),
        ("serverset_path", "/", "should be like /aurora"),
        ("mesos_role", "www/-prod", "no such role"),
        ("mesos_role", "a b", "no such role"),
        ("mesos_role", "..", "no such role"),
        ("cluster_name", "", "is empty"),
    ],
)
@pytest.mark.parametrize("sign", ["=", " "])
def test_a_value_that_cannot_be(flag: str, value: str, what: str, sign: str) -> None:
    words = [f"-{flag}={value}"] if sign == "=" else [f"-{flag}", value]
    (problem,) = said(*words)
    assert problem.startswith(f"-{flag}") and what in problem
    assert wrong(*words).exit_code == 3


def test_values_at_the_ends_of_their_ranges() -> None:
    options = read("-http_port", "65535", "-max_saved_backups", "1", "-flapping_task_threshold", "0s")
    assert (options["http_port"], options["max_saved_backups"]) == (65535, 1)


def test_every_range_is_of_a_flag_whose_default_is_within() -> None:
    flags = {flag.name: flag for area in FLAGS.values() for flag in area}
    assert RANGES.keys() <= flags.keys()
    for name, (least, most) in RANGES.items():
        assert least <= flags[name].default <= most


def test_a_value_that_is_missing() -> None:
    assert said("-http_port") == ("-http_port: a value is missing",)
    assert said("-http_port", "-backup_dir", "x") == ("-http_port: a value is missing",)


def test_a_value_may_look_like_a_flag_or_a_command() -> None:
    options = read("-thermos_executor_flags", "--nosetuid", "--cluster-name", "import", "-mesos_role", "www/prod")
    assert options["thermos_executor_flags"] == "--nosetuid"
    assert (options["cluster_name"], options["mesos_role"]) == ("import", "www/prod")
    options = read("-thermos_executor_flags", "--announcer-ensemble=zk:2181 --nosetuid", "-partition_aware")
    assert options["thermos_executor_flags"] == "--announcer-ensemble=zk:2181 --nosetuid"


def test_what_doubles_up_to_less() -> None:
    (problem,) = said("-initial_schedule_penalty=5mins")
    assert problem == "-initial_schedule_penalty is more than -max_schedule_penalty, up to which it doubles"


def test_what_is_given_goes_before_the_defaults_of_local_even_if_it_is_the_tables() -> None:
    args = read_command_line(build_parser(), ["--local", "--offer-filter-duration", "5s"], COMMANDS)
    more = {"offer_filter_duration": 1.0, "cluster_name": "local"}
    options = options_of(args, "here", more)
    assert (options["offer_filter_duration"], options["cluster_name"]) == (5.0, "local")


# -- files -------------------------------------------------------------------------------------------------------------


def test_certificates_and_keys(pems: Path) -> None:
    def of(certificate: str, key: str) -> tuple[str, ...]:
        return said("-tls_cert", str(pems / certificate), "-tls_key", str(pems / key))

    assert read("-tls_cert", str(pems / "one.crt"), "-tls_key", str(pems / "one.key"))["tls_cert"]
    assert of("none", "also-none") == (
        f"-tls_cert {pems}/none: cannot be read: No such file or directory",
        f"-tls_key {pems}/also-none: cannot be read: No such file or directory",
    )
    assert of("one.crt", "two.key") == (f"-tls_key: {pems}/two.key is not the key of the certificate {pems}/one.crt",)
    assert of("junk", "none") == (
        f"-tls_cert {pems}/junk: there is no certificate in it, as PEM",
        f"-tls_key {pems}/none: cannot be read: No such file or directory",
    )
    assert f"{pems}/junk is no key as PEM without a password" in of("one.crt", "junk")[0]
    assert said("-mesos_tls_ca", str(pems / "junk")) == (
        f"-mesos_tls_ca {pems}/junk: there is no certificate in it, as PEM",
    )


@pytest.mark.parametrize(
    "text, problems",
    [
        ("aurora_authentication_principal=p\n", ["there is no aurora_authentication_secret"]),
        ("# it\naurora_authentication_principal=p\nsEcReT\n",
         ["line 3 should be name=value", "there is no aurora_authentication_secret"]),
    ],
)  # fmt: skip
def test_the_file_with_the_secret(tmp_path: Path, text: str, problems: list[str]) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    told = said("-framework_authentication_file", str(path))
    assert told == tuple(f"-framework_authentication_file {path}: {problem}" for problem in problems)
    path.write_text("! it\naurora_authentication_principal: p\naurora_authentication_secret = s=t:u \n")
    options = read("-framework_authentication_file", str(path))
    assert options.credential == ("p", "s=t:u")
    assert "s=t:u" not in repr(options)


@pytest.mark.parametrize("flag", ["tier_config", "custom_executor_config", "webhook_config", "shiro_ini_path"])
@pytest.mark.parametrize(
    "content, what",
    [
        (b"{", "line 1"),
        (b"\xff", "can't decode byte 0xff"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_file_that_is_malformed_is_named_with_its_flag(tmp_path: Path, flag: str, content: bytes, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    problems = said(f"-{flag}={path}")
    assert problems and all(problem.startswith(f"-{flag} {path}: ") for problem in problems)
    assert any(what in problem for problem in problems)


def test_each_problem_of_a_file_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tiers := tmp_path / "tiers").write_text('{"default": "x", "tiers": {"a": {"odd": 1}}}')
    (users := tmp_path / "users").write_text("[users]\na = \n[roles]\nr = x:y\n")
    (hook := tmp_path / "hook").write_text('{"targetURL": 1, "timeoutMsec": "x", "more": 1}')
    problems = said(f"-tier_config={tiers}", f"-shiro_ini_path={users}", f"-webhook_config={hook}")
    assert len([one for one in problems if one.startswith(f"-tier_config {tiers}: ")]) == 2
    assert len([one for one in problems if one.startswith(f"-shiro_ini_path {users}: line ")]) == 3
    assert len([one for one in problems if one.startswith(f"-webhook_config {hook}: ")]) == 3


def test_everything_is_told_in_one_go_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In particular no store is opened: a scheduler that leads would be fenced off."""
    store, none = tmp_path / "store.db", tmp_path / "none"
    flags = {
        "-mesos_master_address": "bogus://x", "-thermos_executor_path": "/x/thermos_executor", "-store": store,
        "-http_port": 99999, "-backup_interval": "soon", "-shiro_ini_path": none, "-tls_cert": none, "-tls_key": none,
        "-mesos_tls_ca": none, "-framework_authentication_file": none, "-zk_endpoints": "zk1:x", "-tier_config": none,
        "-kerberos_server_keytab": none,
    }  # fmt: skip
    assert main([word for pair in flags.items() for word in map(str, pair)]) == 3
    lines = capsys.readouterr().err.splitlines()
    told = {line.split()[0].rstrip(":") for line in lines[1:]}
    assert told == flags.keys() - {"-thermos_executor_path", "-store"}
    assert not store.exists()


def test_with_local_no_mesos_is_begun_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--local", "--local-dir", str(tmp_path / "local"), "--http-port", "99999"]) == 3
    assert "-http_port: 99999 should be 0 to 65535" in capsys.readouterr().err
    assert not (tmp_path / "local").exists()


# -- flags that there are not ------------------------------------------------------------------------------------------


def test_unknown_flags_are_all_told_with_the_nearest_names_and_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NEEDED, "-mesos_master_adress", "x", "--frobnicate=3", "-http_port", "x", "-xyzzy"]) == 2
    text = capsys.readouterr().err
    for part in ("-mesos_master_adress is unknown: did you mean -mesos_master_address?", "--frobnicate is unknown",
                 "-http_port: 'x' is no whole number", "-xyzzy is unknown"):  # fmt: skip
        assert part in text
    assert "usage:" not in text


def test_unknown_flags_before_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-frobnicate", "restore", str(tmp_path / "none"), "--store", str(tmp_path / "store")]) == 2
    assert "-frobnicate is unknown" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_word_too_many_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*NEEDED, "start"])
    assert ended.value.code == 2
    assert "usage:" not in (text := capsys.readouterr().err) and "'start'" in text


def test_flags_of_aurora_that_do_nothing_are_taken_and_told_once() -> None:
    options = read(
        "-native_log_quorum_size=1", "-native_log_file_path", "/var/db/aurora", "-native_log_read_timeout=5secs",
        "-zk_in_proc=false",
        "--dlog-max-entry-size=1MB", "-http_authentication_mechanism=NONE", "-kerberos_debug", "-cluster_name", "west",
    )  # fmt: skip
    assert options["cluster_name"] == "west"
    (store,) = [one for one in options.ignored if "replicated log" in one]
    assert store.startswith("-native_log_file_path, -native_log_read_timeout, -dlog_max_entry_size: ignored; ")
    assert len(options.ignored) == 5


def test_flags_of_aurora_that_cannot_be_ignored_are_all_told() -> None:
    error = wrong(
        "-http_authentication_mechanism=NEGOTIATE", "-kerberos_server_keytab=/etc/keytab", "-zk_in_proc=true",
        "-thrift_method_interceptor_modules=org.example.Mine", "-native_log_quorum_size=2", "-http_port=-1",
    )  # fmt: skip
    assert error.exit_code == 3
    assert [re.match(r"-\w+", one)[0] for one in error.problems] == [  # type: ignore[index]
        "-http_port", "-http_authentication_mechanism", "-kerberos_server_keytab", "-zk_in_proc",
        "-thrift_method_interceptor_modules", "-native_log_quorum_size",
    ]  # fmt: skip


def test_who_asks_for_passwords_gets_them(tmp_path: Path) -> None:
    (users := tmp_path / "users").write_text("[users]\na = b, r\n[roles]\nr = *\n")
    (problem,) = said("-http_authentication_mechanism=BASIC")
    assert "-shiro_ini_path is missing" in problem
    options = read("-http_authentication_mechanism=BASIC", f"-shiro_ini_path={users}")
    assert options.security is not None
    (problem,) = said("-http_authentication_mechanism=NONE", f"-shiro_ini_path={users}")
    assert "-shiro_ini_path is there" in problem


def test_several_schedulers_need_one_store() -> None:
    options = read("-native_log_quorum_size=2", "-store=postgresql://db/aurora")
    assert "-native_log_quorum_size: ignored" in options.ignored[0]


def test_statistics_under_auroras_name_of_the_flag() -> None:
    assert read("-viz_job_url_prefix=http://stats/").flags["stats_url_prefix"] == "http://stats/"


def test_a_command_line_of_an_aurora_cluster_goes_on_to_work(tmp_path: Path) -> None:
    """Flags as operators of Aurora 0.22 write them, those without a use here among them."""
    (users := tmp_path / "shiro.ini").write_text("[users]\nroot = secret, admin\n[roles]\nadmin = *\n")
    options = read(
        "-cluster_name=main", "-hostname=192.168.33.7", "-http_port=8081", "-native_log_quorum_size=1",
        "-zk_endpoints=localhost:2181", "-mesos_master_address=zk://localhost:2181/mesos",
        "-serverset_path=/aurora/scheduler", "-native_log_zk_group_path=/aurora/replicated-log",
        "-native_log_file_path=/var/db/aurora", "-backup_dir=/var/lib/aurora/backups",
        "-thermos_executor_path=/usr/share/aurora/bin/thermos_executor.pex",
        "-thermos_executor_flags=--announcer-ensemble localhost:2181 --announcer-hostname 192.168.33.7",
        "-allowed_container_types=MESOS,DOCKER", "-http_authentication_mechanism=BASIC",
        f"-shiro_ini_path={users}", "-min_offer_hold_time=1mins", "-receive_revocable_resources=true",
        "-allow_gpu_resource=true", "-allow_container_volumes=true", "-offer_filter_duration=0secs",
        "-mesos_driver=V1_DRIVER", "-max_leading_duration=7days", "-vlog=INFO", "-logtostderr", needed=(),
    )  # fmt: skip
    assert options.settings.allowed_container_types == {"MESOS", "DOCKER"}
    assert [line.partition(":")[0] for line in options.ignored] == [
        "-native_log_quorum_size", "-native_log_zk_group_path, -native_log_file_path",
        "-http_authentication_mechanism", "-mesos_driver", "-max_leading_duration", "-vlog, -logtostderr",
    ]  # fmt: skip


@pytest.mark.skipif(not SPEC.exists(), reason="the table of Aurora's flags is not here")
def test_every_flag_of_aurora_is_taken_or_told() -> None:
    text = SPEC.read_text()
    table = text[text.index("### 7.18") : text.index("Useful metric names")]
    names = set(re.findall(r"`-([a-z_0-9]+[a-z0-9])", table)) - {"native_log", "kerberos"}
    ours = {spelling.lstrip("-") for flags in FLAGS.values() for flag in flags for spelling in flag.spellings}
    assert len(names) > 100
    assert names - ours - RETIRED.keys() == set()
    assert not ours & RETIRED.keys()
