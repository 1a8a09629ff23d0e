-- wrk's script: post a file's bytes, and print what was seen as one line of JSON. Arguments: file, content type, Host header or "".
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = args[2]
  if args[3] and args[3] ~= "" then wrk.headers["Host"] = args[3] end
  file:close()
end

function done(summary, latency, requests)
  local e = summary.errors
  local form = '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p999": %f, '
    .. '"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n'
  io.write(form:format(summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency:percentile(99.9) / 1000, e.status, e.connect, e.read, e.write, e.timeout))
end
