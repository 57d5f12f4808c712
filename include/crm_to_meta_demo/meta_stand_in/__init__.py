"""A stand-in for Meta's Conversions API, for `make run`, the tests and the benchmarks.

It takes the POST `/{version}/{dataset id}/events` that the load step sends to Meta, answers in Meta's format, logs the
requests with the accepted events, and shows them on a page (`GET /`). Nothing leaves this computer.

It is stricter than Meta on purpose. It refuses events that Meta accepts but silently does not count, and events for
which Meta's behaviour is not confirmed, so that this project never depends on leniency. These rules are marked STRICT.

| module | what it does |
|---|---|
| `server` | starts it: `python -m crm_to_meta_demo.meta_stand_in.server --port 0 --port-file F --events-file E` |
| `testing` | `with running_stand_in() as stand_in:` for tests |
| `app`, `control`, `page` | the routes: of Meta, for tests, and for people |
| `stand_in` | handles a request from its arrival to the answer |
| `checks`, `event_checks` | refuse bad requests and bad events |
| `answers` | builds answers in Meta's format |
| `faults`, `settings` | the faults that a test can plan, and what it can configure |
| `request_log`, `tally` | the requests and accepted events in a file with an index, and their counts |
| `connection` | resets or cuts off the TCP connection of a client |
"""
