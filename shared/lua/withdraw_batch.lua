-- withdraw_batch: erase a batch whose seal was never answered, with its jobs, unless its caller has asked again and was
-- told of it.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
--
-- Replies
--   OK            gone
--   KEPT          its idempotency key came again, so somebody knows of it
--   MISSING       no such batch (yet)
--   NOT_YOURS     another tenant's
--
-- Flags allow-oom
-- Moves queued, running -> canceled

local batch, tenant = ARGV[1], ARGV[2]
local verdict = whose_batch(batch, tenant)
if verdict ~= 'OK' then return {verdict} end
local request = redis.call('HGET', key.batch(batch), 'request')
if request and redis.call('HGET', key.request(tenant, request), 'repeated') then return {'KEPT'} end
erase_batch(batch, tenant)
return {'OK'}
