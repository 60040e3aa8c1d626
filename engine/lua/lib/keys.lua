-- Every key of a cell; the same spellings as engine/keys.py. The tag is that of KEYS[1].
local keys = { cell = KEYS[1] }
local tag = string.sub(KEYS[1], 1, -6)  -- without ":cell"

function keys.facts() return tag .. ':facts' end
function keys.wallet(handle) return tag .. ':w:' .. handle end
function keys.campaign(id) return tag .. ':g:' .. id end
function keys.pool(id) return tag .. ':x:' .. id end
function keys.moving(to, id) return tag .. ':z:' .. to .. ':' .. id end
function keys.redemption(handle, serial) return tag .. ':r:' .. handle .. serial end
function keys.opens(id) return tag .. ':o:' .. id end
function keys.holders(id) return tag .. ':h:' .. id end
function keys.frozen() return tag .. ':frozen' end
function keys.holds() return tag .. ':holds' end
function keys.points(handle, serial) return tag .. ':p:' .. handle .. serial end
function keys.points_due() return tag .. ':points' end
function keys.purchase(handle, serial) return tag .. ':b:' .. handle .. serial end
function keys.transaction(handle) return tag .. ':t:' .. handle end
function keys.order(handle, serial) return tag .. ':q:' .. handle .. serial end
function keys.orders() return tag .. ':orders' end
function keys.pending(id) return tag .. ':l:' .. id end
function keys.sent() return tag .. ':sent' end
function keys.checkin(handle, serial) return tag .. ':c:' .. handle .. serial end
function keys.attendance(handle, serial) return tag .. ':j:' .. handle .. serial end
function keys.quotas(event) return tag .. ':e:' .. event end
function keys.lapsing(name) return tag .. ':m:' .. name end
function keys.line(id) return tag .. ':u:' .. id end
function keys.line_order(id) return tag .. ':n:' .. id end
function keys.lines() return tag .. ':lines' end
function keys.note(handle, serial) return tag .. ':a:' .. handle .. serial end
function keys.vehicle(handle) return tag .. ':v:' .. handle end
function keys.stay(handle) return tag .. ':s:' .. handle end
function keys.pocket(handle) return tag .. ':k:' .. handle end
function keys.stay_use(handle, serial) return tag .. ':y:' .. handle .. serial end
function keys.gift(handle, serial) return tag .. ':i:' .. handle .. serial end
function keys.gifts() return tag .. ':gifts' end
function keys.takes() return tag .. ':takes' end
function keys.tier_use(handle) return tag .. ':d:' .. handle end
