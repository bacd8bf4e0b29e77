-- erase: forget a job and have its pictures deleted. One that has not ended is canceled first.
-- With: keys, work, fair, record
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
-- ARGV[3]  ms until the pictures are deleted again, unless the job succeeded at its first attempt: a worker may be
--          uploading one, even if the job's lease was taken from it
--
-- Replies
--   OK objects    keys of the objects to delete; they stay on the list until `discard`
--   MISSING       no such job
--   NOT_YOURS     another tenant's
--
-- Moves queued, running -> canceled

local id = ARGV[1]
local verdict = ownership(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
local status, began, attempt = unpack(redis.call('HMGET', key.job(id), 'status', 'started_at_ms', 'attempt'))
if status == 'queued' or status == 'running' then close(id, 'canceled') end
-- One that succeeded at its first attempt has had all of its uploads.
local may_come_late = began and (status ~= 'succeeded' or tonumber(attempt) > 1)
return {'OK', forget(id, may_come_late and tonumber(ARGV[3]) or 0)}
