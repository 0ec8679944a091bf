#!lua name=seqcache_v1
-- The server half of seqcache's durable mode (docs/durable.md explains it).
--
-- A counter is a plain integer at its own key.  It may be counted only while
-- a *cell* vouches for it: the block (base, ceiling] that SQL has committed
-- for this counter, stamped with the epoch of the very process that holds it.
-- The epoch lives in the local variables below: no RDB, AOF or replication
-- stream carries them, so they vanish exactly when the data may have gone
-- back, and with them every cell loses its force.
--
-- Clients of several versions share one library: functions are added, none is
-- changed or taken away.  A client that misses one replaces the library by its
-- own, which ends the epoch as FUNCTION FLUSH does.
--
-- KEYS   key            the counter, a plain integer
--        meta           its cell or the marker of a take-over in progress
--                         c:token:gid:base:ceiling:low:floor
--                         p:token:nonce:time_ms:gids:floor:ceiling
--        record         what one caller's token counted: "last/count"
--        seq_incr_keys is given counters alone and makes the names of their
--        cells, which lie in the same slots, when it needs them: most of its
--        time goes into what it is given.
-- ARGV   token          the epoch the caller believes in, '' if in none
--
-- A function answers with a number, or with a verdict: an array whose first
-- element is a word.  Unless the word is low or same, nothing was counted.
--
--   {epoch, token}         another epoch rules here ('' is none)
--   {take, counter}        no valid cell: SQL has to grant a block first
--   {busy}                 another client is granting it, or beginning an epoch
--   {full, gid, c, n}      n is beyond the ceiling c of grant gid
--   {low, n, gid, c}       n is good, and the block soon ends
--   {same, last, count}    this token counted before; what it got then
--   {err, text}            this element of a batch failed with that error
--
-- Numbers are Lua's doubles: exact to 2^53 - 1, which is the last number in
-- durable mode.  They travel as text (%.0f) wherever they are not a result.
-- While a library loads, Redis 7.0 has neither `string` nor `math`: only
-- function bodies may name them.

local MARKER_YOUNG_MS = 2000    -- then its client is given up
local CHALLENGE_YOUNG_MS = 300  -- competing clients must not chase each other
local HOT_MAX = 65536           -- cells remembered; beyond it all are dropped
local GIDS_MAX = 16 * 17        -- bytes of the gids that a marker carries on
local COUNTER_MAX = 64          -- bytes of what is told of a counter
local EXACT_MAX = 2^53 - 1      -- the last number

-- What this process knows and no copy of its data does.
local epoch = false             -- token of the epoch that rules here
local challenge = false         -- R1: the number of a client about to begin one
local challenge_ms = 0
local replid = false            -- the replication id that all this was seen under
local run_id = false
-- The cells in use, each at a place of its own.  What every number needs lies
-- in arrays: a table for each cell would cost twice the time, in memory that
-- no cache of the processor holds.
local hot, hot_count = {}, 0    -- key -> place
local spare = {}                -- places that were given back
local cells = {}                -- place -> cell
local lasts = {}                -- place -> the last number issued
local limits = {}               -- place -> first number that needs the cell

local function text(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function forget_all()
  hot, hot_count, spare = {}, 0, {}
  cells, lasts, limits = {}, {}, {}
end

local function forget(key)
  local place = hot[key]
  if place then
    hot[key] = nil
    hot_count = hot_count - 1
    cells[place] = false
    spare[#spare + 1] = place
  end
end

-- Below the mark and the ceiling a number is issued without a look at its cell.
local function set_limit(place, cell)
  limits[place] = math.min(cell.low, cell.ceiling + 1)
end

local function remember(key, cell, last)
  local place = hot[key]
  if not place then
    if hot_count >= HOT_MAX then forget_all() end
    hot_count = hot_count + 1
    place = table.remove(spare) or hot_count
    hot[key] = place
  end
  cells[place], lasts[place] = cell, last
  set_limit(place, cell)
end

-- R9: a process that was demoted and promoted by partial resyncs keeps its
-- variables, but its replication id has changed.
local function verify()
  local id = string.match(redis.call('INFO', 'replication'),
                          'master_replid:(%x+)')
  if id ~= replid then
    epoch, challenge, replid = false, false, id
    forget_all()
  end
end

-- R4: the token is compared here, in the step that executes the call.
local function other_epoch(token)
  if token ~= epoch then
    verify()
    return {'epoch', epoch or ''}
  end
end

local function parse_cell(meta)
  local token, gid, base, ceiling, low, floor = string.match(
    meta, '^c:([^:]+):(%x+):(%d+):(%d+):(%d+):(%d+)$')
  if not token then return nil end
  return {token = token, gid = gid, base = tonumber(base),
          ceiling = tonumber(ceiling), low = tonumber(low),
          floor = tonumber(floor)}
end

local function format_cell(cell)
  return 'c:' .. cell.token .. ':' .. cell.gid .. ':' .. text(cell.base) ..
    ':' .. text(cell.ceiling) .. ':' .. text(cell.low) .. ':' ..
    text(cell.floor)
end

local function parse_marker(meta)
  local token, nonce, ms, gids, floor, ceiling = string.match(
    meta, '^p:([^:]+):(%x+):(%d+):([%x,]*):(%d+):(%d+)$')
  if not token then return nil end
  return {token = token, nonce = nonce, ms = tonumber(ms), gids = gids,
          floor = floor, ceiling = ceiling}
end

local function format_marker(marker)
  return 'p:' .. marker.token .. ':' .. marker.nonce .. ':' ..
    text(marker.ms) .. ':' .. marker.gids .. ':' .. marker.floor .. ':' ..
    marker.ceiling
end

-- The gids of a dead marker, and its nonce: that take may have been committed.
-- Of many that died in a row the oldest are let go of, the cell's own never.
local function gids_after(marker)
  local gids = marker.gids .. ',' .. marker.nonce
  while #gids > GIDS_MAX do gids = string.gsub(gids, ',%x*', '', 1) end
  return gids
end

-- The server's clock decides here how long to be polite, never who is right.
local function is_young(marker)
  local age = now_ms() - marker.ms
  return marker.token == epoch and age >= 0 and age < MARKER_YOUNG_MS
end

-- A counter for a verdict.  Whatever else lies at its key may be large; what
-- is cut must not pass for a number.
local function counter_text(key)
  local all = redis.call('GET', key) or '0'
  if #all > COUNTER_MAX then all = string.sub(all, 1, COUNTER_MAX) .. '?' end
  return all
end

-- The valid cell of key, and the number issued last if that is known; or nil
-- and the verdict.
local function find_cell(key, meta_key)
  local place = hot[key]
  if place then return cells[place], lasts[place] end
  local meta = redis.call('GET', meta_key)
  if meta then
    local cell = parse_cell(meta)
    if cell then
      if cell.token == epoch then return cell end
    else
      local marker = parse_marker(meta)
      if marker and is_young(marker) then return nil, {'busy'} end
    end
  end
  return nil, {'take', counter_text(key)}
end

-- R7: within one grant and process the counter only rises, so it is at least
-- the base; and whoever counted last left exactly `last` behind.  Anything
-- else means that it was evicted, deleted, overwritten or swapped.
local function is_lost(cell, last, value)
  return value == 0 or value < cell.base or (last and value ~= last)
end

local function drop_cell(key, meta_key)
  forget(key)
  redis.call('DEL', meta_key)
end

-- R8: a record below the floor may be from a branch of history that another
-- node has overtaken; only those above it are known to be of ours.
local function find_record(record_key, floor)
  local record = redis.call('GET', record_key)
  local last, count = string.match(record or '', '^(%d+)/(%d+)$')
  if last and tonumber(last) > floor then
    return {'same', tonumber(last), tonumber(count)}
  end
end

local function write_record(record_key, last, count, ttl)
  redis.call('SET', record_key, text(last) .. '/' .. text(count), 'EX', ttl)
end

-- Takes an increment back, so that a refused call leaves no trace.
local function undo(key, before, by)
  if before == 0 then
    redis.call('DEL', key)
  else
    redis.call('DECRBY', key, by)
  end
end

-- The answer for a number within the block.  From the low mark on one caller
-- is told to have the block extended; should it die, the mark at half of
-- what is left tells another one.
local function issued(cell, number)
  if number < cell.low then return number end
  if number < cell.ceiling then
    cell.low = number + math.floor((cell.ceiling - number + 1) / 2)
  else
    cell.low = math.huge
  end
  return {'low', number, cell.gid, text(cell.ceiling)}
end

local function increase(key, meta_key, by, record_key, ttl)
  if by > EXACT_MAX then
    error({err = 'ERR increment or decrement would overflow 2^53 - 1'})
  end
  local cell, last = find_cell(key, meta_key)
  if not cell then return last end
  local same = record_key and find_record(record_key, cell.floor)
  if same then return same end
  -- A sum that is not exact (as 2^53 is) would look like a lost counter.
  if by > EXACT_MAX + 1 - (last or cell.base) then
    error({err = 'ERR increment or decrement would overflow 2^53 - 1'})
  end
  local number = redis.call('INCRBY', key, by)
  local before = number - by
  if is_lost(cell, last, before) then
    undo(key, before, by)
    drop_cell(key, meta_key)
    return {'take', text(before)}
  end
  if number > cell.ceiling then
    undo(key, before, by)
    forget(key)
    return {'full', cell.gid, text(cell.ceiling), text(number)}
  end
  if record_key then write_record(record_key, number, by, ttl) end
  local answer = issued(cell, number)
  remember(key, cell, number)
  return answer
end

-- Reads the counter (to = 0) or raises it to `to`.
local function read_or_raise(key, meta_key, to)
  local cell, last = find_cell(key, meta_key)
  if not cell then return last end
  local raw = counter_text(key)
  local value = tonumber(string.match(raw, '^%d+$') or 0)
  if is_lost(cell, last, value) then
    drop_cell(key, meta_key)
    return {'take', raw}
  end
  if to <= value then return value end
  if to > cell.ceiling then
    forget(key)
    return {'full', cell.gid, text(cell.ceiling), text(to)}
  end
  redis.call('SET', key, text(to))
  remember(key, cell, to)
  return to
end

-- One bad key of a batch must not cost the others theirs, nor hide that they
-- counted.  Whatever fails does so before its key was written.
local function guarded(step, ...)
  local done, answer = pcall(step, ...)
  if done then return answer end
  return {'err', type(answer) == 'table' and answer.err or tostring(answer)}
end

-- seq_incr key meta [record]; token by ['v'] [ttl]
local function seq_incr(keys, args)
  if args[3] == 'v' then verify() end
  return other_epoch(args[1]) or
    increase(keys[1], keys[2], tonumber(args[2]), keys[3], args[4])
end

-- seq_incr_many (key meta)* ; token by ['v']
-- seq_incr_many (key meta record)* ; token by v ttl
local function seq_incr_many(keys, args)
  if args[3] == 'v' then verify() end
  local refused = other_epoch(args[1])
  if refused then return refused end
  local by, ttl = tonumber(args[2]), args[4]
  local stride = ttl and 3 or 2
  local answers = {}
  for i = 1, #keys, stride do
    answers[#answers + 1] = guarded(increase, keys[i], keys[i + 1], by,
                                    ttl and keys[i + 2], ttl)
  end
  return answers
end

-- The name of a counter's cell: see meta_key in items.py.
local function meta_of(key)
  if string.find(key, '{', 1, true) then return 'sqc:b:' .. key end
  return 'sqc:m:{' .. key .. '}'
end

-- seq_incr_keys key* ; token by ['v']
-- What clients send most.  A number that needs no more than `last` and the
-- limit is counted here; `increase` does the rest, and tells of errors.
local function seq_incr_keys(keys, args)
  if args[3] == 'v' then verify() end
  local refused = other_epoch(args[1])
  if refused then return refused end
  local by_text = args[2]  -- Redis is slow to write a double
  local by = tonumber(by_text)
  local call = redis.pcall
  local answers = {}
  for i = 1, #keys do
    local key = keys[i]
    local place = hot[key]
    local number = place and lasts[place] + by
    if number and number < limits[place] then
      local counted = call('INCRBY', key, by_text)
      if counted == number then
        lasts[place], answers[i] = number, number
      else
        number = false
        if type(counted) == 'number' then undo(key, counted - by, by) end
      end
    else
      number = false
    end
    if not number then
      answers[i] = guarded(increase, key, meta_of(key), by)
    end
  end
  return answers
end

-- seq_get key meta; token 0 ['v']        seq_raise key meta; token to ['v']
local function seq_raise(keys, args)
  if args[3] == 'v' then verify() end
  return other_epoch(args[1]) or
    read_or_raise(keys[1], keys[2], tonumber(args[2]))
end

-- seq_get_many (key meta)* ; token 0 ['v']
local function seq_get_many(keys, args)
  if args[3] == 'v' then verify() end
  local refused = other_epoch(args[1])
  if refused then return refused end
  local answers = {}
  for i = 1, #keys, 2 do
    answers[#answers + 1] = guarded(read_or_raise, keys[i], keys[i + 1], 0)
  end
  return answers
end

-- seq_open ; rnd [old]
-- The first half of an epoch.  It ends `old` if that still rules (only a
-- client that asked discovery again says so) and leaves the challenge that
-- seq_begin has to answer.
local function seq_open(_, args)
  verify()
  if epoch and epoch ~= args[2] then return {'cur', epoch} end
  local age = now_ms() - challenge_ms
  if challenge and age >= 0 and age < CHALLENGE_YOUNG_MS then
    return {'busy'}
  end
  epoch, challenge, challenge_ms = false, args[1], now_ms()
  forget_all()
  run_id = run_id or string.match(redis.call('INFO', 'server'),
                                  'run_id:(%x+)')
  return {'go', run_id}
end

-- seq_begin ; token rnd
-- R1: a late or repeated seq_begin finds no challenge of its own, so that
-- no token is ever set twice, nor in two processes.
local function seq_begin(_, args)
  verify()
  if not challenge or challenge ~= args[2] then return {'stale'} end
  epoch, challenge = args[1], false
  forget_all()
  return {'ok'}
end

-- seq_mark key meta; token nonce
-- Announces a take-over.  The answer carries what SQL has to know of the
-- cell that it replaces: counter, gids and floor (R8), ceiling.
local function seq_mark(keys, args)
  verify()
  local refused = other_epoch(args[1])
  if refused then return refused end
  local meta = redis.call('GET', keys[2])
  local cell = meta and parse_cell(meta)
  local marker = meta and parse_marker(meta)
  local gids, floor, ceiling = '', '0', '0'
  if cell then
    if cell.token == epoch then return {'valid'} end
    gids, floor, ceiling = cell.gid, text(cell.floor), text(cell.ceiling)
  elseif marker then
    if is_young(marker) then return {'busy'} end
    gids, floor, ceiling = gids_after(marker), marker.floor, marker.ceiling
  end
  forget(keys[1])
  redis.call('SET', keys[2], format_marker({
    token = epoch, nonce = args[2], ms = now_ms(), gids = gids,
    floor = floor, ceiling = ceiling}))
  return {'ok', counter_text(keys[1]), gids, floor, ceiling}
end

-- seq_install key meta [record]; token nonce base ceiling low floor issue [ttl]
-- R2: a grant enters once, over its own marker: that vanishes here, and with
-- everything else that could make a second copy of the grant dangerous.
local function seq_install(keys, args)
  verify()
  local refused = other_epoch(args[1])
  if refused then return refused end
  local marker = parse_marker(redis.call('GET', keys[2]) or '')
  if not marker or marker.token ~= epoch or marker.nonce ~= args[2] then
    return {'lost'}
  end
  local cell = {token = epoch, gid = args[2], base = tonumber(args[3]),
                ceiling = tonumber(args[4]), low = tonumber(args[5]),
                floor = tonumber(args[6])}
  local issue = tonumber(args[7])
  forget(keys[1])
  redis.call('SET', keys[2], format_cell(cell))
  local same = keys[3] and find_record(keys[3], cell.floor)
  if same then
    redis.call('SET', keys[1], text(cell.base))
    return same
  end
  local number = cell.base + issue
  redis.call('SET', keys[1], text(number))
  if keys[3] then write_record(keys[3], number, issue, args[8]) end
  return number
end

-- seq_extend key meta; token gid ceiling low
-- R3: only the grant that SQL extended; a cell that came back from somewhere
-- must not inherit the room of another.
local function seq_extend(keys, args)
  verify()
  local refused = other_epoch(args[1])
  if refused then return refused end
  local cell = parse_cell(redis.call('GET', keys[2]) or '')
  if not cell or cell.token ~= epoch or cell.gid ~= args[2] then
    return {'lost'}
  end
  local ceiling, low = tonumber(args[3]), tonumber(args[4])
  if ceiling > cell.ceiling then
    cell.ceiling, cell.low = ceiling, low
    redis.call('SET', keys[2], format_cell(cell))
    local place = hot[keys[1]]
    if place then
      cells[place].ceiling, cells[place].low = ceiling, low
      set_limit(place, cells[place])
    end
  end
  return {'ok'}
end

-- seq_drop key meta; token x
-- Withdraws the marker or the cell named x, so that nobody has to wait for it.
-- A marker only ages: the next one inherits what it knows of the void cell,
-- above all the ceiling that tells a store which was set back.
local function seq_drop(keys, args)
  verify()
  local refused = other_epoch(args[1])
  if refused then return refused end
  local meta = redis.call('GET', keys[2]) or ''
  local token, name = string.match(meta, '^[cp]:([^:]+):(%x+):')
  if token ~= epoch or name ~= args[2] then return {'lost'} end
  local marker = parse_marker(meta)
  if marker then
    marker.ms = 0
    redis.call('SET', keys[2], format_marker(marker))
  else
    drop_cell(keys[1], keys[2])
  end
  return {'ok'}
end

-- No function is flagged no-writes: a replica must refuse them all.
-- allow-oom only where nothing grows.
local function register(name, callback, flags)
  redis.register_function{function_name = name, callback = callback,
                          flags = flags}
end

register('seq_incr', seq_incr, {})
register('seq_incr_many', seq_incr_many, {})
register('seq_incr_keys', seq_incr_keys, {})
register('seq_raise', seq_raise, {})
register('seq_mark', seq_mark, {})
register('seq_install', seq_install, {})
register('seq_extend', seq_extend, {})
register('seq_get', seq_raise, {'allow-oom'})
register('seq_get_many', seq_get_many, {'allow-oom'})
register('seq_open', seq_open, {'allow-oom'})
register('seq_begin', seq_begin, {'allow-oom'})
register('seq_drop', seq_drop, {'allow-oom'})
