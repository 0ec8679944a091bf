"""How the documentation is built: `make docs`."""

from __future__ import annotations

import seqcache

project = "seqcache"
author = "The seqcache developers"
copyright = "2026, The seqcache developers"
version = release = seqcache.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxarg.ext",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # --url stays what is typed
nb_execution_mode = "off"  # the notebook comes executed; a test runs it
exclude_patterns = ["_build", "img"]

html_theme = "furo"
html_title = f"seqcache {release}"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5ad1a4"},
    "navigation_with_keys": True,
}

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have them, and the stub has overloads
autodoc_preserve_defaults = True
default_role = "py:obj"  # `cache` in a docstring links
napoleon_google_docstring = False
napoleon_use_rtype = False

nitpicky = True
# Names of the language and of other libraries: this build asks no other site.
nitpick_ignore_regex = [
    ("py:.*", r"(asyncio|collections|typing|types|os|abc|sqlalchemy|_typeshed)\..*"),
    ("py:.*", r"(int|str|bytes|bool|float|list|dict|tuple|range|None|object|type)"),
    ("py:.*", r"(optional|default|iterable|iterator|mapping|callable|awaitable)"),
    ("py:exc", r"(ValueError|TypeError|RuntimeError|OSError|KeyError)"),
    ("py:class", "AskCredentials"),
    ("py:class", r".*[ {}\[\]=,(].*"),
]


def public_name(app, env, node, text):
    """`SeqCache` in any docstring is the package's, `reserve` the method."""
    target = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    if target in seqcache.__all__:
        name = f"seqcache.{target}"
    elif not target.startswith("_") and hasattr(seqcache.SeqCache, target):
        name = f"seqcache.SeqCache.{target}"
    else:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", name, node, text
    )


def setup(app):
    """Called by Sphinx."""
    app.connect("missing-reference", public_name)
