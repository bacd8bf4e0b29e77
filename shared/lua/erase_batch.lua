-- erase_batch: forget a batch and its jobs. One that goes on is canceled first. Nobody sees any of it from now on;
-- `forget_batch` forgets the jobs' records, and has their pictures deleted.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
--
-- Replies
--   OK
--   MISSING       no such batch
--   NOT_YOURS     another tenant's
--
-- Flags allow-oom
-- Moves queued, running -> canceled

local batch, tenant = ARGV[1], ARGV[2]
local verdict = whose_batch(batch, tenant)
if verdict ~= 'OK' then return {verdict} end
erase_batch(batch, tenant)
return {'OK'}
