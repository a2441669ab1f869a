"""Which kernel is in use, how it is built or not, and that the compiled one keeps nothing."""

import gc
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

import mpbond
from mpbond.core import aead, segments, wire
from mpbond.core.unfinished import Unfinished
from tests.kernels import compiled

ROOT = Path(__file__).parent.parent.parent
ASK = "from mpbond.core import kernel; print(kernel.in_use(), kernel.Aead.__module__)"
WITH_THE_COMPILED = f"""
import sys
from tests.kernels import built
import importlib.util
spec = importlib.util.spec_from_file_location("mpbond.native._kernel", built())
sys.modules["mpbond.native._kernel"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import mpbond.native
mpbond.native.kernel, mpbond.native.absent = module, None
{ASK}
"""
WITH_A_BROKEN_ONE = f"""
import sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "mpbond.native._kernel":
            raise ImportError("libcrypto.so.3: no such file")
sys.meta_path.insert(0, Finder())
{ASK}
"""


def said(code, place=ROOT, **environment):
    kept = {key: value for key, value in os.environ.items() if key != "MPBOND_PURE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "variable", "answer"),
    [
        (ASK, "1", "pure Python (MPBOND_PURE is set) mpbond.core.aead"),
        (
            WITH_A_BROKEN_ONE,
            "core",
            "pure Python (the compiled kernel cannot be loaded: libcrypto.so.3: no such file;"
            " MPBOND_PURE is set) mpbond.core.aead",
        ),
        (
            WITH_A_BROKEN_ONE,
            "",
            "core compiled, batch functions in Python (the compiled kernel cannot be loaded:"
            " libcrypto.so.3: no such file) mpbond.core.aead",
        ),
    ],
)
def test_python_takes_over_where_the_compiled_kernel_is_not_wanted_or_not_there(
    code, variable, answer
):
    assert said(code, MPBOND_PURE=variable) == answer


def test_python_takes_over_where_no_kernel_was_built(tmp_path):
    package = Path(mpbond.__file__).parent
    shutil.copytree(package, tmp_path / "mpbond", ignore=shutil.ignore_patterns("*.so"))
    answer = said(ASK, tmp_path, MPBOND_PURE="0")
    assert answer == (
        "pure Python (the compiled kernel was not built; the core was not compiled) mpbond.core.aead"
    )


def test_the_core_can_be_left_in_python_alone():
    answer = said(ASK, MPBOND_PURE="core")
    assert answer.startswith("batch functions compiled (OpenSSL ")
    assert answer.endswith(", core in Python (MPBOND_PURE is set) mpbond.native._kernel")


WHERE = "import mpbond.core.session as s; print(s.__file__); "


def installed(place):
    """A copy of mpbond as it is installed here."""
    package = Path(mpbond.__file__).parent
    shutil.copytree(package, place / "mpbond")
    return place / "mpbond"


def test_the_compiled_core_is_used_where_its_sources_are_still_these(tmp_path):
    package = installed(tmp_path)
    answer = said(WHERE + ASK, tmp_path).splitlines()
    assert answer[0].startswith(str(package / "core" / "session.cpython-"))
    assert answer[1].startswith("compiled (OpenSSL ")


@pytest.mark.parametrize("module", ["session", "rate"])
def test_a_core_that_was_compiled_of_other_sources_is_not_used(tmp_path, module):
    package = installed(tmp_path)
    with (package / "core" / f"{module}.py").open("a") as source:
        source.write("# changed\n")
    answer = said(WHERE + ASK, tmp_path).splitlines()
    assert answer[0] == str(package / "core" / "session.py")
    assert ", core in Python (the core has changed since it was compiled) " in answer[1]


def test_a_compiled_core_that_cannot_be_loaded_is_not_used(tmp_path):
    package = installed(tmp_path)
    (library,) = (package / "native").glob("core_*__mypyc*")
    library.write_bytes(b"no library")
    answer = said(WHERE + ASK, tmp_path).splitlines()
    assert answer[0] == str(package / "core" / "session.py")
    assert "core in Python (the compiled core cannot be loaded: " in answer[1]


def test_modules_that_have_lost_their_library_are_not_used(tmp_path):
    package = installed(tmp_path)
    (library,) = (package / "native").glob("core_*__mypyc*")
    library.unlink()
    answer = said(WHERE + ASK, tmp_path).splitlines()
    assert answer[0] == str(package / "core" / "session.py")
    assert ", core in Python (the core was not compiled) " in answer[1]


def test_the_compiled_kernel_is_used_where_there_is_one():
    answer = said(WITH_THE_COMPILED)
    assert answer.startswith("compiled (OpenSSL ")
    assert answer.endswith(" mpbond.native._kernel")


def test_it_wants_to_know_the_classes_first_and_checks_them(tmp_path):
    code = """
import importlib.util
from tests.kernels import built
spec = importlib.util.spec_from_file_location("_kernel", built())
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
calls = [lambda name=name: getattr(kernel, name)(b"") for name in ("join", "to_vnet", "parse_frames")]
calls.append(lambda: kernel.Aead("AES-256-GCM", bytes(32)).open_run(b"", 1, 0, 0))
for call in calls:
    try:
        call()
    except RuntimeError as error:
        print(error)
good = [bytes, tuple, tuple, tuple, tuple, ValueError]
for place, wrong in enumerate((str, list, list, list, list, str)):
    classes = [*good[:place], wrong, *good[place + 1:]]
    try:
        kernel.adopt(*classes)
    except TypeError as error:
        print(error)
"""
    lines = said(code).splitlines()
    assert (
        lines
        == ["adopt() comes first"] * 4 + ["adopt(bytes, tuple, tuple, tuple, tuple, exception)"] * 6
    )


# -- what is kept -------------------------------------------------------------------------------

ROUNDS = 400
HEAD4 = bytes.fromhex("4500000000004000400600000102030405060708")
TCP = bytes.fromhex("0050005100000000000000005010200000000000")
PACKET = HEAD4 + TCP + bytes(4500)
FRAMES = (
    wire.frame(wire.ACK, bytes(300))
    + wire.data_head(0, wire.position(900, 70_000), 1 << 20, 600)
    + bytes(600)
    + wire.data_head(0, wire.position(900, 70_001), None, None)
    + bytes(700)
)


def work():
    """Calls of everything, by name: with good input, with bad, and with what is no input at all."""
    kernel = compiled()
    key = kernel.Aead("AES-256-GCM", bytes(range(32)))
    number = 1 << 40
    plains = [[b"head", bytes(1400)], (bytearray(1404),), memoryview(bytes(900))]
    sealed = key.seal(1 << 31, [(3, number + at, plain) for at, plain in enumerate(plains)])
    run = key.seal_run(1 << 31, 3, number, plains)
    forged = run[:100] + b"\1" + run[101:]

    super_packet = Unfinished(PACKET)
    super_packet.segment_size = 1000
    cut = segments.Cut(super_packet)

    def train(first, count, source=cut):
        place = (wire.SEGMENT, 900, 1 << 20, 1 << 20)
        return key.seal_train(1 << 31, 3, number, *place, source, first, count)

    sealed_train = train(0, 5)
    came = [(3, number + at, datagram) for at, datagram in enumerate(sealed)]
    segment_list = [Unfinished(each) for each in segments.cut(PACKET, 1000, 0, 4)]
    whole = Unfinished(PACKET)
    whole.segment_size = 1000
    odd = Unfinished(PACKET)
    odd.segment_size = "many"
    classes = [Unfinished, wire.Frames, wire.DataFrame, wire.LoneRun, aead.Arrival, wire.WireError]
    return {
        "adopt": (lambda: kernel.adopt(*classes), None),
        "Aead": (lambda: kernel.Aead("ChaCha20-Poly1305", bytes(32)), None),
        "Aead of no name": (lambda: kernel.Aead("none", bytes(32)), KeyError),
        "Aead of half a key": (lambda: kernel.Aead("AES-256-GCM", bytes(31)), ValueError),
        "seal": (lambda: key.seal(1 << 31, [(3, number, plain) for plain in plains]), None),
        "seal no buffer": (
            lambda: key.seal(1 << 31, [(3, number, plains[0]), (3, number, [b"", None])]),
            TypeError,
        ),
        "seal no triple": (lambda: key.seal(1 << 31, [(3, number, b""), (3, number)]), TypeError),
        "seal no number": (lambda: key.seal(1 << 31, [(3, 1 << 64, plains[0])]), OverflowError),
        "seal_run": (lambda: key.seal_run(1 << 31, 3, number, plains), None),
        "seal_run uneven": (
            lambda: key.seal_run(1 << 31, 3, number, [b"", b"too long"]),
            ValueError,
        ),
        "seal_run no buffer": (
            lambda: key.seal_run(1 << 31, 3, number, [bytes(900), None]),
            TypeError,
        ),
        "open": (lambda: key.open(came), None),
        "open forged": (lambda: key.open([(3, number, forged)]), None),
        "open no buffer": (lambda: key.open([*came, (3, number, None)]), TypeError),
        "seal_train": (lambda: train(0, 5), None),
        "seal_train too far": (lambda: train(0, 6), IndexError),
        "seal_train of packets": (lambda: train(0, 5, [PACKET] * 4 + [HEAD4]), None),
        "seal_train of too few": (lambda: train(1, 5, [PACKET] * 5), IndexError),
        "seal_train uneven": (lambda: train(0, 2, [HEAD4, PACKET]), ValueError),
        "seal_train no packets": (lambda: train(0, 2, [PACKET, None]), TypeError),
        "open_run": (lambda: key.open_run(run, 1430, 0, number), None),
        "open_run forged": (lambda: key.open_run(forged, 1430, 0, number), None),
        "open_run of a train": (lambda: key.open_run(sealed_train, 1074, 0, number), None),
        "open_run nowhere": (lambda: key.open_run(bytearray(run), 1430, -1, number), ValueError),
        "cut": (lambda: kernel.cut(PACKET, 1000, 0, 4), None),
        "cut too far": (lambda: kernel.cut(PACKET, 1000, 0, 6), IndexError),
        "cut nothing": (lambda: kernel.cut(b"", 1000, 0, 5), ValueError),
        "join": (lambda: kernel.join([b"plain", *segment_list, *segment_list, whole]), None),
        "join no size": (lambda: kernel.join([*segment_list, b"plain", odd]), TypeError),
        "to_vnet": (lambda: kernel.to_vnet(whole), None),
        "to_vnet plain": (lambda: kernel.to_vnet(PACKET), None),
        "to_vnet no size": (lambda: kernel.to_vnet(odd), TypeError),
        "parse_frames": (lambda: kernel.parse_frames(FRAMES), None),
        "parse_frames cut": (lambda: kernel.parse_frames(FRAMES[:-700]), wire.WireError),
        "parse_frames cut early": (lambda: kernel.parse_frames(FRAMES[:-800]), wire.WireError),
    }


def attempt(call, error):
    if error is None:
        call()
        return
    with pytest.raises(error):
        call()


def repeat(call, error):
    for _ in range(ROUNDS):
        try:
            call()
        except Exception as caught:
            assert isinstance(caught, error)  # noqa: PT017 (a context for each would allocate)


@pytest.mark.parametrize("name", work())
def test_nothing_is_kept_of_what_was_made(name):
    call, error = work()[name]
    attempt(call, error)
    repeat(call, error)
    grown = []
    tracemalloc.start()
    try:
        repeat(call, error)
        for _ in range(4):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            repeat(call, error)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    # a leak is there each time, what Python keeps for itself is not; one small object for each call
    # would be ten times as much
    assert min(grown) < ROUNDS * 3


@pytest.mark.parametrize("name", work())
def test_nothing_is_held_of_what_was_handed_in(name):
    call, error = work()[name]
    attempt(call, error)
    cells = [cell.cell_contents for cell in call.__closure__ or ()]
    held = [each for cell in cells for each in ([cell, *cell] if type(cell) is list else [cell])]
    held += [PACKET, FRAMES, None, Unfinished, wire.Frames, wire.DataFrame, type(cells[0])]
    grown = []
    for _ in range(4):
        before = [sys.getrefcount(each) for each in held]
        repeat(call, error)
        gc.collect()
        after = [sys.getrefcount(each) for each in held]
        grown.append(max(abs(now - was) for was, now in zip(before, after, strict=True)))
    assert min(grown) < 20


def test_a_key_that_is_let_go_gives_its_memory_back():
    def pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    kernel = compiled()

    def make(count):
        for _ in range(count):
            for name in aead.CLASSES:
                kernel.Aead(name, bytes(32))

    make(2000)
    before = pages()
    make(20_000)
    # each has two contexts of at least 500 bytes: 40 MB, were they kept
    assert (pages() - before) * os.sysconf("SC_PAGE_SIZE") < 4 << 20


# -- how it is built ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "made"),
    [({"CC": "/bin/false"}, []), ({"CFLAGS": "-I/nowhere -nostdinc"}, [])],
    ids=["without a compiler", "without headers"],
)
def test_an_installation_goes_on_without_what_is_compiled(tmp_path, environment, made):
    target = tmp_path / "lib"
    done = subprocess.run(
        [
            sys.executable,
            "setup.py",
            "-q",
            "build",
            "-b",
            str(tmp_path),
            "--build-lib",
            str(target),
        ],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "mpbond" / "core" / "kernel.py").exists()
    assert list(target.rglob("*.so")) == made
    answer = said(ASK, target)
    assert answer.startswith("pure Python (the compiled kernel was not built")
