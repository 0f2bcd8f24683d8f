-- SPDX-License-Identifier: Apache-2.0
-- A chat request of about 1 KB with the gateway key of the environment; one line of JSON at the end.
local text = string.rep("Please summarise the minutes of the last meeting in three sentences. ", 12)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "none")
wrk.body = '{"model":"gpt-bench","stream":false,"max_tokens":64,"messages":[{"role":"system","content":"You are terse."},' ..
	'{"role":"user","content":"' .. text .. '"}]}'

done = function(summary, latency)
	local e = summary.errors
	io.write(string.format('RESULT {"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\n', summary.requests,
		summary.duration, latency:percentile(50), latency:percentile(99),
		e.connect + e.read + e.write + e.status + e.timeout))
end
