"""Configuration of Sphinx. ``build.py`` writes the pages; nothing is downloaded while they are built or shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from segmi import __version__

project = "segmi"
author = "The segmi authors"
copyright = "The segmi authors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "segmi_site"]
exclude_patterns = ["downloads"]
templates_path: list[str] = []
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "off"
nb_merge_streams = True
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"segmi {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["losses.js", "scrolling.js"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "sidebar_hide_name": False,
    "navigation_with_keys": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
