-- Only an erasure looks for a lead, once in a while; each status change wrote this index anew (docs/adr/0007).
DROP INDEX capi.delivery_by_lead;
