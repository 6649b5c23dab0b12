"""Where tables go: README.md, between the two markers of a name."""

from measuring.brokers import ROOT


def put_into_readme(name, text):
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    readme = ROOT / "README.md"
    before, found, rest = readme.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"README.md has no {begin} … {end} markers; nothing was written")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
