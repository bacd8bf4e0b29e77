-- withdraw: erase a job whose submit was never answered, unless its caller has asked again and was told of it.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
-- ARGV[3]  ms until its pictures are deleted, if a worker may be uploading one
--
-- Replies
--   OK            gone
--   KEPT          its idempotency key came again, so somebody knows of it
--   MISSING       no such job (yet)
--   NOT_YOURS     another tenant's
--
-- Flags allow-oom
-- Moves queued, running -> canceled

local id, tenant = ARGV[1], ARGV[2]
local verdict = ownership(id, tenant)
if verdict ~= 'OK' then return {verdict} end
local request = field(id, 'request')
if request and redis.call('HGET', key.request(tenant, request), 'repeated') then return {'KEPT'} end
erase_job(id, tonumber(ARGV[3]))
return {'OK'}
