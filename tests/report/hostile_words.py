"""Words that try to break out of whatever they are written into."""

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover='x' | `x` [a](javascript:1) \x00\u202e"
