-- include: batch, issuing, pack
-- What a claim writes: its coupon and its fact, put together of what is packed already. Packing is
-- most of a claim's time, and most of what is packed is the same for all claims of a moment.
local claims = {}

-- What all coupons of a share that are issued at this moment begin with, and their facts.
local function moment(share, now)
  local made, issue = share.made, share.issue
  if made and made.now == now then return made end
  local from, to = issuing.validity(issue, now)
  local coupon = cmsgpack.pack(share.id, issue[ISSUE.revision], COUPON_STATE.ISSUED, now,
    from - now, to > 0 and to - now or 0)
  made = { now = now, plain = pack.header(8) .. coupon, told = pack.header(9) .. coupon,
    fact = pack.header(18) .. cmsgpack.pack('claimed'), at = cmsgpack.pack(now),
    terms = cmsgpack.pack(share.id, issue[ISSUE.revision], from, to) }
  share.made = made
  return made
end

-- A coupon (records.CouponRecord) that is claimed now.
function claims.coupon(op, share, now)
  local fingerprint, extra, made = op[CLAIM.fingerprint], op[CLAIM.extra], moment(share, now)
  if extra == '' then
    return made.plain .. pack.heads[#fingerprint] .. fingerprint .. pack.texts[op[CLAIM.channel]]
  end
  return made.told .. pack.heads[#fingerprint] .. fingerprint .. pack.texts[op[CLAIM.channel]]
    .. pack.heads[#extra] .. extra
end

-- The fact of it (facts.Claimed); code: of a third party, or "".
function claims.fact(op, share, now, code)
  local handle, serial, heads, texts = op[CLAIM.handle], op[CLAIM.serial], pack.heads, pack.texts
  local fingerprint, user, made = op[CLAIM.fingerprint], op[CLAIM.user_id], moment(share, now)
  batch.facts[#batch.facts + 1] = made.fact .. cmsgpack.pack(batch.next()) .. made.at
    .. heads[#handle + #serial + 1] .. 'C' .. handle .. serial .. heads[#fingerprint] .. fingerprint
    .. texts[op[CLAIM.who]] .. heads[#user] .. user .. made.terms .. texts[op[CLAIM.channel]]
    .. texts[op[CLAIM.source]] .. texts[op[CLAIM.metadata]] .. '\160\0\0' .. texts[code]
end
