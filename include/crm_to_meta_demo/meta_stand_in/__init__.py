"""A stand-in for Meta's Conversions API, for `make run`, the tests and the benchmarks.

Nothing leaves this computer.

In: the same POST `/{version}/{dataset id}/events` that the load step sends to Meta. Out: answers in Meta's shape, a
journal of what was accepted, and a page (`GET /`) where a person reads it.

It is stricter than Meta on purpose. Where Meta takes an event and then quietly does not count it, or where nobody has
confirmed what Meta does, the stand-in refuses: this project must never depend on the lenient reading. `event_checks`
marks those rules STRICT.

| module | does |
|---|---|
| `server` | starts it: `python -m crm_to_meta_demo.meta_stand_in.server --port 0 --port-file F --events-file E` |
| `testing` | `with running_stand_in() as stand_in:` for tests |
| `app`, `control`, `page` | the routes: what Meta has, what tests need, what a person sees |
| `stand_in` | one request from arrival to answer |
| `checks`, `event_checks` | what is refused, for a request and for an event |
| `answers` | the shape of Meta's answers |
| `faults`, `settings` | what a test can have go wrong, and what it can configure |
| `journal`, `tally` | what arrived: the file with its index, and the counts |
| `connection` | hanging up on a client, with a true TCP reset |
"""
