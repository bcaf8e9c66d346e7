#!/usr/bin/env bash
# The documentation of modules, plugins and roles: linted, then built as a site without a warning.
set -euo pipefail
cd "$(dirname "$0")/../.."

antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
site="$PWD/.cache/docs"
rm -rf "$site"
mkdir -p "$site"
antsibull-docs sphinx-init --use-current --squash-hierarchy --dest-dir "$site" localai.fleet > /dev/null
printf '\nintersphinx_mapping = {}\nsuppress_warnings = ["ref.ref"]\n' >> "$site/conf.py"
(cd "$site" && bash build.sh > build.log 2>&1) || { tail -40 "$site/build.log"; exit 1; }
echo "Documentation site: ${site#"$PWD/"}/build/html/index.html"
