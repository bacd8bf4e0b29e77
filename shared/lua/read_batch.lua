-- read_batch: tell how a batch stands.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
--
-- Replies
--   OK batch
--   MISSING       no such batch
--   NOT_YOURS     another tenant's
--
-- Flags no-writes
-- Moves nothing

local verdict = whose_batch(ARGV[1], ARGV[2])
if verdict ~= 'OK' then return {verdict} end
return {'OK', describe_batch(ARGV[1])}
