"""Prints a web server's log as one finds it: 20,000 lines, uneven lengths, UTF-8, odd bytes."""

import random
import sys

dice = random.Random(20)
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36",
    "curl/8.5.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Mobile/15E148",
    "-",
]
WORDS = "cart search über-uns naïve 東京 index login static img api v1 users orders export\t".split(" ")

out = sys.stdout.buffer
for line in range(20_000):
    path = "/" + "/".join(dice.choice(WORDS) for _ in range(dice.randrange(1, 6)))
    if dice.randrange(50) == 0:
        path += "?q=" + "x" * dice.randrange(4000)
    second = line * 7
    stamp = f"{21 + second // 86400:02}/Nov/2026:{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02} +0000"
    text = (
        f'10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)} - - [{stamp}] "GET {path} HTTP/1.1" '
        f'{dice.choice([200, 200, 200, 304, 404, 500])} {dice.randrange(100_000)} "-" "{dice.choice(AGENTS)}"'
    )
    out.write(text.encode() + (b" \xff\x00\x1b[31m" if dice.randrange(500) == 0 else b"") + b"\n")
