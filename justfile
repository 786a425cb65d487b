# The usual tasks; `just` lists them. Install it with `pip install rust-just`.

[private]
default:
    @just --list

# Lint and check the types.
lint:
    ruff check .
    ruff format --check .
    mypy --strict mcloud functions

# Run the tests, with any arguments of pytest.
test *arguments:
    pytest {{ arguments }}

# Build the documentation, with a check of its links.
docs:
    zensical build --clean --strict

# Show the documentation at http://localhost:8000 while you write it.
serve:
    zensical serve

# Write the generated parts of the pages again: the reference, and the outputs that the guide shows.
reference:
    MCLOUD_UPDATE=1 pytest -n 0 tests/docs/test_reference.py tests/docs/test_pictures.py

# Renew the lock file. `just lock --upgrade` takes newer versions.
lock *arguments:
    uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
        --output-file requirements-dev.txt {{ arguments }}

# Run all checks of CI, in a fresh environment.
ci:
    .ci/run
