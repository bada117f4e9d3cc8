"""The privacy policy and the law as data (`rules/*.toml`) and pure functions that decide from it.

Library: `model.load()` reads the data once, `decide.decide()` says what one change means for each recipient,
`calendar.last_day()` counts periods. No I/O besides reading the package's own TOML.
"""
