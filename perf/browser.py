"""The request header lines that every load sends: what a desktop Chromium sends for a page's image.

A benchmark that sends `GET / HTTP/1.1` and `Host` alone measures a parser that no visitor ever meets: real requests
carry a dozen lines and 600 to 900 bytes, and a cache has to read all of them before it may answer.
"""

from __future__ import annotations

HEADERS: tuple[tuple[str, str], ...] = (
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    ),
    ("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7"),
    ("Referer", "https://www.example.com/articles/2025/07/a-page-with-a-rather-ordinary-name.html"),
    ("sec-ch-ua", '"Not)A;Brand";v="8", "Chromium";v="138", "Google Chrome";v="138"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Sec-Fetch-Dest", "image"),
    ("Sec-Fetch-Mode", "no-cors"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Priority", "i"),
    ("DNT", "1"),
)


def flags() -> list[str]:
    """The lines as -H flags, which wrk, h2load and curl share."""
    return [word for name, value in HEADERS for word in ("-H", f"{name}: {value}")]
