"""The handshake as a conversation: what is said, what each answer means."""

import pytest

from fakes.scripted import Codec, Refused
from seqcache import errors
from seqcache._handshake import Hello, Talk, handshake
from seqcache.config import Config

SECRET = "s3cret!word"

HELLO = {b"server": b"valkey", b"version": b"8.0.1", b"proto": 3, b"id": 9}
HELLO |= {b"mode": b"standalone", b"role": b"master", b"modules": []}
MASTER = [b"master", 0, []]
SLAVE = [b"slave", b"10.0.0.1", 6379, b"connected", 7]
NOPERM = Refused("NOPERM this user has no permissions to run the 'role' command")
OLD = Refused("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, ")
NOINFO = Refused("ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")


def converse(config, credentials, answers):
    """Run a handshake; `answers` maps a verb to its reply (or a list, in turn)."""
    said, flow = [], handshake(config, credentials)
    defaults = {"HELLO": HELLO, "ROLE": MASTER, "EXISTS": 0, "CLIENT": b"OK"}
    defaults |= {"SELECT": b"OK", "AUTH": b"OK"}
    commands = next(flow)
    while True:
        said.append(commands)
        verbs = [" ".join(map(str, command[:2])) for command in commands]
        replies = [
            answers.get(
                verb, answers.get(verb.split()[0], defaults.get(verb.split()[0]))
            )
            for verb in verbs
        ]
        try:
            commands = flow.send(replies)
        except StopIteration as done:
            return done.value, said


def refused(config, credentials, answers):
    with pytest.raises(errors.SeqCacheError) as caught:
        converse(config, credentials, answers)
    assert SECRET not in str(caught.value) + str(caught.value.__cause__)
    return caught.value


PLAIN = Config("redis://h:7")
NOBODY = (None, None)


def test_modern_server_in_one_round_trip():
    hello, said = converse(Config("redis://h/3"), ("bob", SECRET), {})
    assert hello == Hello("valkey", "8.0.1", 3, "master", "standalone", 9)
    (batch,) = said
    assert batch[0] == ["HELLO", 3, "AUTH", "bob", SECRET, "SETNAME", "seqcache"]
    assert [command[0] for command in batch[1:]] == [
        *("CLIENT", "CLIENT", "SELECT", "ROLE", "EXISTS")
    ]
    assert batch[3] == ["SELECT", 3]
    assert batch[5] == ["EXISTS", b"seq:"]
    assert batch[1][:3] == ["CLIENT", "SETINFO", "LIB-NAME"]


def test_password_alone_is_the_default_user():
    _, said = converse(PLAIN, (None, SECRET), {})
    assert said[0][0][2:5] == ["AUTH", "default", SECRET]


def test_nothing_is_sent_that_was_not_asked_for():
    _, said = converse(Config("redis://h", client_name=""), NOBODY, {})
    assert said[0][0] == ["HELLO", 3]
    assert not any(command[0] == "SELECT" for command in said[0])


@pytest.mark.parametrize(
    "text", [OLD, Refused("NOPROTO unsupported protocol version"), Refused("ERR huh")]
)
def test_server_without_hello_3_gets_resp_2(text):
    hello, said = converse(Config("redis://h/1"), ("bob", SECRET), {"HELLO": text})
    assert (hello.proto, hello.role, hello.version) == (2, "master", "")
    assert said[1][:2] == [["AUTH", "bob", SECRET], ["CLIENT", "SETNAME", "seqcache"]]
    assert ["SELECT", 1] in said[1]


def test_protocol_2_sends_no_hello():
    hello, said = converse(Config("redis://h", protocol=2), (None, SECRET), {})
    assert hello.proto == 2
    assert said[0][0] == ["AUTH", SECRET]
    _, said = converse(Config("redis://h", protocol=2, client_name=""), NOBODY, {})
    assert said[0][0][:2] == ["CLIENT", "SETINFO"]


def test_hello_as_a_flat_list_is_understood():
    flat = [part for pair in HELLO.items() for part in pair]
    hello, _ = converse(PLAIN, NOBODY, {"HELLO": flat})
    assert hello.version == "8.0.1"


def test_refused_setinfo_is_ignored():
    assert converse(PLAIN, NOBODY, {"CLIENT": NOINFO})[0].role == "master"


@pytest.mark.parametrize(
    ("verb", "text", "hint"),
    [
        ("HELLO", "WRONGPASS invalid username-password pair", "'bob'"),
        ("HELLO", "NOAUTH HELLO must be called with the client", "PASSWORD"),
        ("HELLO", "ERR AUTH <password> called without any password", "leave it out"),
        ("HELLO", "ERR invalid password", None),
    ],
)
def test_refused_credentials_are_auth_errors(verb, text, hint):
    error = refused(PLAIN, ("bob", SECRET), {verb: Refused(text)})
    assert type(error) is errors.AuthError
    assert error.executed is False
    assert "h:7" in str(error)
    assert error.__cause__.code == text.split()[0]
    assert (hint in error.hint) if hint else error.hint is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("WRONGPASS invalid", "'bob'"),
        ("ERR wrong number of arguments for 'auth' command", "password alone"),
        ("ERR Client sent AUTH, but no password is set", "leave it out"),
        (f"ERR unknown command `AUTH`, with args beginning with: `{SECRET[:4]}", None),
        (f"ERR odd {SECRET} echoed", None),
    ],
)
def test_refused_auth_of_an_old_server(text, hint):
    answers = {"HELLO": OLD, "AUTH": Refused(text)}
    error = refused(PLAIN, ("bob", SECRET), answers)
    assert type(error) is errors.AuthError
    assert SECRET[:4] not in str(error)
    assert (hint in error.hint) if hint else error.hint is None


def test_missing_password_is_told_with_the_way_to_give_it():
    texts = Refused("NOAUTH Authentication required.")
    answers = {"HELLO": OLD, "ROLE": texts, "EXISTS": texts, "CLIENT": texts}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.AuthError
    assert "redis://:PASSWORD@" in error.hint


def test_user_without_password_may_be_a_password_and_is_not_shown():
    error = refused(PLAIN, (SECRET, None), {"HELLO": Refused(f"WRONGPASS no {SECRET}")})
    assert "without a password" in error.hint


@pytest.mark.parametrize(
    ("verb", "text", "cls", "words"),
    [
        ("SELECT", "ERR DB index is out of range", "ConnectError", "/0 to /15"),
        ("SELECT", "ERR SELECT is not allowed in cluster mode", "ConnectError", "/0"),
        ("SELECT", "NOPERM no 'select'", "AuthError", "+select"),
        ("EXISTS", "LOADING Redis is loading", "ConnectError", "startup_timeout"),
        ("EXISTS", "MASTERDOWN Link is down", "ConnectError", "primary"),
        ("EXISTS", "MOVED 1 h:2", "ConnectError", "redis+cluster"),
        ("EXISTS", "CLUSTERDOWN Hash slot not served", "ConnectError", "cluster"),
        ("HELLO", "LOADING Redis is loading", "ConnectError", "startup_timeout"),
        ("HELLO", "ERR max number of clients reached", "ConnectError", "maxclients"),
        ("HELLO", "DENIED Redis is running in protected", "ConnectError", "password"),
    ],
)
def test_server_that_cannot_serve_us(verb, text, cls, words):
    error = refused(Config("redis://h:7/99"), (None, SECRET), {verb: Refused(text)})
    assert type(error).__name__ == cls
    assert words in error.hint
    assert text.split()[0] in str(error)
    assert isinstance(error.__cause__, errors.ServerError)


@pytest.mark.parametrize("text", ["BUSY a script", "ERR unknown command", "WRONGTYPE"])
def test_other_errors_of_the_probe_show_a_serving_server(text):
    assert converse(PLAIN, NOBODY, {"EXISTS": Refused(text)})[0].role == "master"


@pytest.mark.parametrize("old", [False, True])
def test_replica_is_refused_with_its_primary(old):
    answers = {"ROLE": SLAVE, **({"HELLO": OLD} if old else {})}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.ConnectError
    assert "replica of 10.0.0.1:6379" in str(error)


def test_replica_is_found_by_hello_when_role_is_refused():
    hello = HELLO | {b"role": b"replica"}
    error = refused(PLAIN, NOBODY, {"ROLE": NOPERM, "HELLO": hello})
    assert "replica" in str(error)


def test_replica_is_found_by_info_when_role_is_refused():
    info = b"# Replication\r\nrole:slave\r\nmaster_host:x\r\n"
    answers = {"ROLE": NOPERM, "HELLO": OLD, "INFO replication": info}
    assert "replica" in str(refused(PLAIN, NOBODY, answers))


def test_sentinel_is_refused():
    hello = {key: HELLO[key] for key in (b"server", b"version", b"proto")}
    answers = {"HELLO": hello, "ROLE": [b"sentinel", [b"m"]]}
    answers["EXISTS"] = Refused("ERR unknown command 'EXISTS'")
    assert "Sentinel" in str(refused(PLAIN, NOBODY, answers))


def test_read_only_user_may_open_with_everything_refused():
    answers = {"ROLE": NOPERM, "EXISTS": NOPERM, "INFO": NOPERM, "CLIENT": NOPERM}
    hello, said = converse(PLAIN, ("ro", SECRET), answers)
    assert hello.role == "master"
    assert said[1] == [["INFO", "persistence"]]
    hello, said = converse(PLAIN, ("ro", SECRET), {**answers, "HELLO": OLD})
    assert hello.role == ""
    assert said[2] == [["INFO", "replication"], ["INFO", "persistence"]]


def test_loading_is_found_by_info_when_reads_are_refused():
    answers = {"EXISTS": NOPERM, "INFO persistence": b"loading:1\r\nx:2\r\n"}
    error = refused(PLAIN, NOBODY, answers)
    assert type(error) is errors.ConnectError
    assert "loading" in str(error)


@pytest.mark.parametrize(("size", "is_served"), [(b"1", True), (b"3", False)])
def test_cluster_node_serves_only_if_it_is_alone(size, is_served):
    answers = {"HELLO": HELLO | {b"mode": b"cluster"}}
    answers["CLUSTER INFO"] = b"cluster_state:ok\r\ncluster_size:%s\r\n" % size
    if is_served:
        assert converse(PLAIN, NOBODY, answers)[0].mode == "cluster"
    else:
        assert "Cluster" in str(refused(PLAIN, NOBODY, answers))


def test_talk_takes_any_split_of_the_bytes():
    raw = b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n+OK\r\n-ERR no\r\n"
    raw += b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n:0\r\n"
    for step in (1, 2, 7, len(raw)):
        talk = Talk(PLAIN, NOBODY, Codec())
        assert talk.begin().startswith(b"*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
        out = [talk.feed(raw[at : at + step]) for at in range(0, len(raw), step)]
        assert out[-1] is None
        assert set(out[:-1]) <= {b""}
        assert talk.hello == Hello("redis", "", 3, "master")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"<!DOCTYPE HTML>\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "TLS"),
        (b"SSH-2.0-x\r\n", "right port"),
        (b"+OK\r\n" * 9, "right port"),
        (b"$9999999\r\n" + b"x" * (1 << 20), "right port"),
    ],
)
def test_strangers_are_told_apart(raw, words):
    talk = Talk(PLAIN, NOBODY, Codec())
    talk.begin()
    with pytest.raises(errors.ConnectError) as caught:
        talk.feed(raw)
    assert words in caught.value.hint
