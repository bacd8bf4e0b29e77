-- erase: forget a job and have its pictures deleted. One that has not ended is canceled first.
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
-- Flags allow-oom
-- Moves queued, running -> canceled

local id = ARGV[1]
local verdict = ownership(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
return {'OK', erase_job(id, tonumber(ARGV[3]))}
