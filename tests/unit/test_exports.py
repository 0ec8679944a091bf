"""What the package shows to the outside, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqcache
from seqcache import _native, backends, config, errors, testing

PACKAGE = Path(seqcache.__file__).parent
PUBLIC_MODULES = [seqcache, backends, config, errors, testing]
OPTIONAL = ["sqlalchemy", "opentelemetry", "prometheus_client", "rich", "uvloop"]
# What the interpreter has loaded anyway, or what costs less than a millisecond.
LEAN = {
    *("_typing", "typing", "collections", "collections.abc", "contextlib", "copyreg"),
    *("functools", "keyword", "operator", "reprlib", "re", "types", "enum"),
    *(
        "typing.io",
        "typing.re",
        "_collections",
        "_functools",
        "_operator",
        "itertools",
        "time",
        "warnings",
    ),
}


def python(code: str) -> str:
    """Run code in a fresh interpreter that has this package."""
    folder = str(PACKAGE.parent)
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {folder!r})\n{code}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- names -----------------------------------


def test_all_is_exact():
    """Whatever has no underscore is in __all__, submodules and constants apart."""
    for name in seqcache.__all__:
        assert getattr(seqcache, name) is not None
    modules = {item.name for item in pkgutil.iter_modules([str(PACKAGE)])}
    shown = {name for name in dir(seqcache) if not name.startswith("_")}
    assert shown - modules - {"TYPE_CHECKING"} == set(seqcache.__all__) - {
        "__version__"
    }
    assert sorted(seqcache.__all__) == seqcache.__all__
    assert len(set(seqcache.__all__)) == len(seqcache.__all__)


def test_all_errors_are_exported():
    assert set(errors.__all__) <= set(seqcache.__all__)


def test_names_that_come_later_are_the_real_ones():
    from seqcache import _acache, _cache

    assert seqcache.Config is config.Config
    assert seqcache.acache is _acache.acache
    assert seqcache.cache is _cache.cache
    assert seqcache.Backend is backends.Backend
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        seqcache.nonsense  # noqa: B018


def test_star_import_and_dir_know_the_names_that_come_later():
    print_names = "import seqcache; print(dir(seqcache))"
    assert {"Config", "acache", "Backend"} <= set(ast.literal_eval(python(print_names)))
    assert python("from seqcache import *; print(Config.__name__)") == "Config\n"


@pytest.mark.parametrize("module", PUBLIC_MODULES, ids=lambda module: module.__name__)
def test_all_names_exist(module):
    for name in module.__all__:
        assert hasattr(module, name), name


def test_extension_exports_its_init_function_only():
    names = subprocess.run(
        ["nm", "-D", "--defined-only", _native.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = {line.split()[-1] for line in names.splitlines()}
    # _init and _fini are the linker's own, asan and gcov have theirs.
    ours = {name for name in symbols if re.match(r"seqc|PyInit|awaitable|redis", name)}
    assert ours == {"PyInit__native"}


# --- docstrings -----------------------------------


def public_objects():
    """Every public function, class, method and property, with its dotted name."""
    for module in PUBLIC_MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for member in dir(thing):
                    value = inspect.getattr_static(thing, member)
                    if not member.startswith("_") and is_ours(thing, member):
                        yield f"{module.__name__}.{name}.{member}", value


def is_ours(cls, member):
    """Not a field, not inherited from a class of the standard library."""
    owner = next(base for base in cls.__mro__ if member in vars(base))
    value = vars(owner)[member]
    if not owner.__module__.startswith("seqcache"):
        return False
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


OBJECTS = dict(public_objects())


@pytest.mark.parametrize("name", OBJECTS)
def test_public_object_has_a_docstring(name):
    doc = inspect.getdoc(OBJECTS[name])
    assert doc, name
    assert doc.split("\n\n")[0].strip()[-1] in ".:", "the first sentence has an end"


OPERATIONS = ["get_seq", "increase_seq", "reserve", "raise_seq", "get_seqs"]
OPERATIONS += [
    "increase_seqs",
    "raise_seqs",
    "delete_seq",
    "export_seqs",
    "import_seqs",
    "health",
]


@pytest.mark.parametrize("face", [seqcache.SeqCache, seqcache.AsyncSeqCache])
@pytest.mark.parametrize("method", OPERATIONS)
def test_operation_tells_parameters_returns_and_units(face, method):
    doc = inspect.getdoc(getattr(face, method))
    assert "Parameters\n---" in doc
    assert "Returns\n---" in doc
    for name in inspect.signature(getattr(face, method)).parameters:
        assert name == "self" or re.search(rf"^{name}\b", doc, re.MULTILINE), name
    assert "econds" in doc  # of the timeout


@pytest.mark.parametrize("face", [_native.Client, _native.AsyncClient])
@pytest.mark.parametrize("method", OPERATIONS[:6])
def test_operation_of_the_engine_tells_what_it_raises(face, method):
    assert "Raises\n------\n" in getattr(face, method).__doc__


@pytest.mark.parametrize("function", [seqcache.cache, seqcache.acache])
def test_factory_tells_what_it_raises(function):
    doc = inspect.getdoc(function)
    for word in ("Parameters", "Raises", "ConfigError", "AuthError", "StartupError"):
        assert word in doc


# --- C, stub and faces say the same -----------------------------------


def stub_signatures():
    """(class, method) -> [(name, kind, has a default)] of the stub."""
    found = {}
    tree = ast.parse((PACKAGE / "_native.pyi").read_text())
    for item in tree.body:
        if isinstance(item, ast.FunctionDef):
            found[None, item.name] = parameters_of(item.args)
        if isinstance(item, ast.ClassDef):
            for method in item.body:
                if isinstance(method, ast.FunctionDef) and not is_property(method):
                    found[item.name, method.name] = parameters_of(method.args)
    return found


def is_property(method):
    return any(
        isinstance(d, ast.Name) and d.id == "property" for d in method.decorator_list
    )


def parameters_of(args):
    positional = [(arg, "positional") for arg in args.posonlyargs]
    positional += [(arg, "either") for arg in args.args]
    without = len(positional) - len(args.defaults)
    rows = [(arg.arg, kind, at >= without) for at, (arg, kind) in enumerate(positional)]
    rows += [
        (arg.arg, "keyword", default is not None)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return [row for row in rows if row[0] not in ("self", "cls")]


KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
}


def native_methods():
    for (owner, name), wanted in stub_signatures().items():
        holder = getattr(_native, owner) if owner else _native
        method = getattr(holder, name, None)
        if getattr(method, "__doc__", None) and not name.startswith("__"):
            yield pytest.param(method, wanted, id=f"{owner}.{name}")


@pytest.mark.parametrize(("method", "wanted"), list(native_methods()))
def test_text_signature_is_the_stubs(method, wanted):
    text = method.__text_signature__.replace("<unrepresentable>", "...")
    text = text.replace("$self", "self").replace("$module", "self")
    function = ast.parse(f"def f{text}: ...").body[0]
    found = [(name, kind, has) for name, kind, has in parameters_of(function.args)]
    assert [tuple(row) for row in found] == wanted


@pytest.mark.parametrize("owner", ["Client", "AsyncClient", "Engine", "Codec"])
def test_every_method_of_c_has_a_signature_and_is_in_the_stub(owner):
    stub = stub_signatures()
    for name, method in vars(getattr(_native, owner)).items():
        if inspect.ismethoddescriptor(method) and not name.startswith("__"):
            assert method.__text_signature__, name
            assert method.__doc__, name
            assert (owner, name) in stub


def test_both_faces_have_the_same_operations_and_parameters():
    def names(face, *others):
        shown = {name for name in dir(face) if not name.startswith("_")}
        return shown - set(others)

    blocking, loop = seqcache.SeqCache, seqcache.AsyncSeqCache
    assert names(blocking, "close") == names(loop, "aclose")
    for name in names(blocking, "close", "closed", "config"):
        one = inspect.signature(getattr(blocking, name)).parameters
        two = inspect.signature(getattr(loop, name)).parameters
        assert [(p.name, p.kind, p.default) for p in one.values()] == [
            (p.name, p.kind, p.default) for p in two.values()
        ]


# --- errors pickle -----------------------------------


@pytest.mark.parametrize("name", errors.__all__)
def test_error_pickles(name):
    error = getattr(seqcache, name)("what", hint="do", executed=None)
    error.extra = "kept"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


def test_errors_that_calls_raise_pickle():
    cache = seqcache.cache("memory://")
    cache.raise_seq("full", 2**63 - 1)
    calls = [
        lambda: cache.get_seq(""),
        lambda: cache.increase_seq("full"),
        lambda: cache.increase_seqs(["a", "full"]),
        lambda: seqcache.cache("nonsense://x"),
        lambda: seqcache.cache("redis://127.0.0.1:1/0"),
    ]
    for call in calls:
        with pytest.raises(seqcache.SeqCacheError) as caught:
            call()
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value)
        assert str(again) == str(caught.value)
        assert again.executed is caught.value.executed


# --- what an import costs -----------------------------------

LOADED = """
before = set(sys.modules)
import seqcache
print(sorted(set(sys.modules) - before))
"""


def test_import_loads_nothing_that_is_optional_or_heavy():
    loaded = set(ast.literal_eval(python(LOADED)))
    for name in ["asyncio", "ssl", "socket", "logging", "inspect", "dataclasses"]:
        assert name not in loaded
    assert not loaded & set(OPTIONAL)
    strange = {name for name in loaded if not name.startswith("seqcache")} - LEAN
    assert not strange


def test_blocking_cache_needs_neither_asyncio_nor_ssl():
    more = LOADED.replace("print", "seqcache.cache('memory://').close()\nprint")
    loaded = set(ast.literal_eval(python(more)))
    assert not loaded & {"asyncio", "ssl", "urllib.parse", "importlib.metadata"}
    assert not loaded & set(OPTIONAL)


def test_every_module_can_be_imported_alone():
    names = [item.name for item in pkgutil.iter_modules([str(PACKAGE)])]
    for name in names:
        if name not in ("__main__", "ceilings") and not name.startswith("_ceiling"):
            importlib.import_module(f"seqcache.{name}")


def test_extension_is_small():
    size = Path(_native.__file__).stat().st_size
    if "asan" not in str(_native.__file__) and size < 1_000_000:  # not a debug build
        assert size <= 250_000
