"""How Sphinx makes the website. `helpers.publishing.site` copies this beside the pages."""

import os

project = "Pediatric pneumonia"
html_title = "Pediatric pneumonia"
language = "en"
root_doc = "notebooks/final_notebook"
extensions = ["myst_nb"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # so that links in outputs lead to pages
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
html_theme = "furo"
html_static_path = ["style.css", "scroll.js"]
html_css_files = ["style.css"]
html_js_files = ["scroll.js"]
html_extra_path = ["extra"]
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
if repository := os.environ.get("GITHUB_REPOSITORY"):
    html_theme_options = {
        "source_repository": f"https://github.com/{repository}/",
        "source_branch": "main",
        "source_directory": "",
        "top_of_page_buttons": ["view"],
    }
