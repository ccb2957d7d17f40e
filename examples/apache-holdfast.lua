-- Asks Holdfast about a request, for apache.conf; whatever goes wrong in here, Apache answers 500.
local http = require "socket.http"
local socket = require "socket"

local holdfast = "http://127.0.0.1:3000"
local identity = { "Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Session-Id" }
local passed = { "Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-WebSocket-Key", "Accept", "Access-Control-Request-Method" }
local refusals = { [400] = true, [401] = true, [403] = true }

-- What a client sent under these names never passes, nor with underscores, which CGI variables cannot tell from hyphens.
local stripped = { "X_Session-Id", "X-Session_Id" }
for _, name in ipairs(identity) do
  table.insert(stripped, name)
  table.insert(stripped, (name:gsub("%-", "_")))
end

-- What the client wants to have dropped on the way (RFC 9110 7.6.1) must not be the identity.
local function keep_identity(headers)
  local wanted = (headers["Connection"] or ""):lower()
  if wanted:find("remote", 1, true) or wanted:find("session", 1, true) then headers["Connection"] = "close" end
end

local function connect()
  local connection = socket.tcp()
  connection:settimeout(5)
  return connection
end

local function ask(r, path)
  for _, name in ipairs(stripped) do r.headers_in[name] = nil end
  keep_identity(r.headers_in)
  local headers = {
    ["x-forwarded-method"] = r.method,
    ["x-forwarded-proto"] = r.is_https and "https" or "http",
    ["x-forwarded-host"] = r.headers_in["Host"],
    ["x-forwarded-uri"] = r.unparsed_uri,
    ["x-forwarded-for"] = r.useragent_ip
  }
  for _, name in ipairs(passed) do headers[name:lower()] = r.headers_in[name] end

  local ok, status, answered = http.request({ url = holdfast .. path, headers = headers, redirect = false, create = connect })
  if ok and status == 200 then
    for _, name in ipairs(identity) do r.headers_in[name] = answered[name:lower()] or "" end
    return apache2.DECLINED -- to object
  end
  if ok and refusals[status] then
    r.err_headers_out["WWW-Authenticate"] = answered["www-authenticate"]
    return status
  end
  -- Holdfast has made the address: encoded, with return_to only where that is an address of ours.
  if ok and status == 302 then
    r.err_headers_out["Location"] = answered["location"]
    r.err_headers_out["Cache-Control"] = "no-store"
    return status
  end
  r.err_headers_out["Retry-After"] = "1"
  return 503
end

-- What the location says is asked. Where it says nothing, nobody gets in.
function guard(r)
  local path = r.subprocess_env["HOLDFAST_VERIFY"]
  if path == "nobody" then return apache2.DECLINED end
  if not path then return 500 end
  return ask(r, path)
end

-- Holdfast's own cookies are for Holdfast: the application, and its log, never see them. After the last question, which needs them.
function strip_cookies(r)
  if r.subprocess_env["HOLDFAST_VERIFY"] == "nobody" then return apache2.DECLINED end
  local kept = {}
  for pair in (r.headers_in["Cookie"] or ""):gmatch("[^;]+") do
    pair = pair:gsub("^%s*", "")
    local name = pair:gsub("^__Host%-", ""):gsub("^__Secure%-", "")
    if name:sub(1, 9) ~= "holdfast." then table.insert(kept, pair) end
  end
  r.headers_in["Cookie"] = #kept > 0 and table.concat(kept, "; ") or nil
  return apache2.DECLINED
end
