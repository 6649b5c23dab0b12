"""The records that every client writes and expects (tests/clients/README.md)."""

RECORDS = 200
AUTO_RECORDS = 100
PARTITIONS = 3
LARGE = 900_000
MIB = 1 << 20
BIG_RECORDS = 3
DEADLINE_S = 120


def large(size, p):
    return bytes((j * 31 + j // 251 + p) & 255 for j in range(size))


def key(p, i):
    if i % 5 == 0:
        return None
    return b"" if i % 7 == 1 else b"key-%d-%d" % (p, i)


def value(p, i, nulls):
    if i == RECORDS - 1:
        return large(LARGE, p)
    if i % 11 == 3:
        return None if nulls or i % 5 != 0 else b""
    if i % 13 == 4:
        return b""
    return b"value-%d-%d-" % (p, i) + bytes(97 + (i + j * j) % 26 for j in range(i * 7 % 300))


def headers(i, nulls):
    found = [("h%d" % k, b"v-%d-%d" % (i, k)) for k in range(i % 3)]
    if i % 4 == 2:
        found.append(("empty", b""))
    if nulls and i % 17 == 5:
        found.append(("null", None))
    return found


def partition(p, count, base, nulls):
    """What one partition holds: (timestamp, key, value, headers) in offset order."""
    return [(base + p * 1000 + i, key(p, i), value(p, i, nulls), headers(i, nulls)) for i in range(count)]


def big(base):
    return [(base + i, b"big-%d" % i, large(MIB, i), []) for i in range(BIG_RECORDS)]


def topics(prefix, codecs, base):
    """Topic name to its partitions' records, big and auto topics included."""
    nulls = not prefix.startswith("nonull")
    found = {
        f"{prefix}-{codec}": [partition(p, RECORDS, base, nulls) for p in range(PARTITIONS)] for codec in codecs
    }
    found[f"{prefix}-big"] = [big(base)]
    found[f"{prefix}-auto"] = [partition(0, AUTO_RECORDS, base, nulls)]
    return found


def shorten(record):
    def cut(data):
        return data if data is None or len(data) < 60 else data[:40] + b"... %d bytes" % len(data)

    timestamp, k, v, h = record
    return (timestamp, cut(k), cut(v), h)


def compare(where, wanted, found):
    """Ends the program with an error at the first record that differs."""
    for offset, (want, (at, got)) in enumerate(zip(wanted, found)):
        if at != offset:
            raise SystemExit(f"{where}: record {offset} has offset {at}")
        if want != got:
            raise SystemExit(f"{where} offset {offset}: wanted {shorten(want)}, found {shorten(got)}")
    if len(wanted) != len(found):
        raise SystemExit(f"{where}: wanted {len(wanted)} records, found {len(found)}")
