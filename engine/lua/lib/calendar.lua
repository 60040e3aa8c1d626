-- The tenant's calendar: local days, weeks from Monday, months, as numbers.
local calendar = {}

-- Day, week and month of a moment; offset is the zone's distance from UTC in ms.
-- Month: "civil_from_days", Howard Hinnant, chrono-compatible low-level date algorithms.
function calendar.of(now, offset)
  local day = math.floor((now + offset) / 86400000)
  if calendar.day == day then return day, calendar.week, calendar.month end
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  calendar.day, calendar.week = day, math.floor((day + 3) / 7)
  calendar.month = year * 12 + month - 1
  return day, calendar.week, calendar.month
end

-- The first moment of the next day, week or month ('day', 'week', 'month'), with the zone as it is.
function calendar.next(what, now, offset)
  local day, week, month = calendar.of(now, offset)
  local first = day + 1
  if what == 'week' then first = 7 * (week + 1) - 3 end
  while what == 'month' and select(3, calendar.of(first * 86400000, 0)) == month do
    first = first + 1
  end
  return first * 86400000 - offset
end

-- Whether a moment lies in the weekdays (1 = Monday) and hours ({from, to} in minutes).
-- A range whose end is not after its start crosses midnight and belongs to the day it began.
function calendar.open(weekdays, hours, now, offset)
  if not weekdays and not hours then return true end
  local minutes = math.floor((now + offset) / 60000)
  local minute = minutes % 1440
  local today = (math.floor(minutes / 1440) + 3) % 7 + 1
  local yesterday = (today + 5) % 7 + 1
  local function on(day)
    if not weekdays then return true end
    for _, d in ipairs(weekdays) do if d == day then return true end end
    return false
  end
  if not hours then return on(today) end
  for _, range in ipairs(hours) do
    local from, to = range[1], range[2]
    if from < to then
      if minute >= from and minute < to and on(today) then return true end
    elseif (minute >= from and on(today)) or (minute < to and on(yesterday)) then
      return true
    end
  end
  return false
end
