# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The best permitted set of coupons for a basket: the twin of `_best_py`, which documents it.

Takes baskets below 2^31 fen and of at most 512 lines, so that every product fits 63 bits; what is
larger goes to the twin.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from engine.fastpath import _best_py

MOST = _best_py.MOST
Offer = _best_py.Offer

cdef enum:
    MAX_OFFERS = 12
    MAX_LINES = 512
    MAX_STEPS = 16
    MAX_WORTH = 1024

cdef int64_t LARGEST = 1 << 31  # of a basket, fen
cdef int64_t EXACT = 1 << 53  # doubles below hold every integer

cdef enum:
    GIFT = 0
    FIXED_PRICE = 1
    PERCENT_OFF = 2
    AMOUNT_OFF = 3
    STEPS = 4
    EVERY = 5
    MINUTES = 6


cdef struct COffer:
    int benefit
    int64_t amount, cap, basis_points, every, min_spend, initial, most, end, name, paid
    bint spend_running, base_initial
    int bars, group, campaign, steps, lines
    int64_t group_limit, campaign_limit
    int64_t least[MAX_STEPS]
    int64_t off[MAX_STEPS]
    int line[MAX_LINES]


cdef struct State:
    int offers, used, most, worths
    int64_t room, taken
    int64_t minutes[MAX_WORTH]
    int64_t worth[MAX_WORTH]
    int64_t running[MAX_LINES]
    int64_t paying[MAX_LINES]
    int64_t budget[MAX_OFFERS]
    int64_t to_come[MAX_OFFERS + 1]
    int chosen[MAX_OFFERS]
    int64_t best_discount, best_paid, best_ends, best_names
    int best_used
    int found[MAX_OFFERS]
    COffer offer[MAX_OFFERS]
    int64_t share[MAX_OFFERS][MAX_LINES]  # by depth
    int64_t rest[MAX_LINES]


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    if a < 0:
        return b
    if b < 0:
        return a
    return a if a < b else b


cdef bint joins(State* s, COffer* offer) noexcept nogil:
    cdef int64_t group_limit = offer.group_limit, campaign_limit = offer.campaign_limit
    cdef int in_group = 1, in_campaign = 1, k, n
    cdef COffer* other
    if s.used >= s.most:
        return False
    for k in range(s.used):
        n = s.chosen[k]
        other = &s.offer[n]
        if offer.bars >> n & 1:
            return False
        if offer.group >= 0 and other.group == offer.group:
            in_group += 1
            group_limit = smaller(group_limit, other.group_limit)
        if other.campaign == offer.campaign:
            in_campaign += 1
            campaign_limit = smaller(campaign_limit, other.campaign_limit)
    if 0 <= group_limit < in_group:
        return False
    return not (0 <= campaign_limit < in_campaign)


cdef int64_t worth_of(State* s, int64_t minutes) noexcept nogil:
    """What so many minutes take off a parking fee: the last step they reach."""
    cdef int low = 0, high = s.worths, middle
    while low < high:
        middle = (low + high) // 2
        if s.minutes[middle] <= minutes:
            low = middle + 1
        else:
            high = middle
    return s.worth[low - 1] if low else 0


cdef int64_t take(State* s, COffer* offer, int* free) noexcept nogil:
    """What the offer takes off now, 0 where it would be refused; free: the unit's line or -1."""
    cdef int64_t left = 0, spend, discount = 0, price, unit, budget
    cdef int k, n
    free[0] = -1
    for k in range(offer.lines):
        left += s.running[offer.line[k]]
    spend = left if offer.spend_running else offer.initial
    if spend < offer.min_spend:
        return 0
    if offer.benefit == GIFT:
        price = -1
        for k in range(offer.lines):
            n = offer.line[k]
            if s.paying[n] > 0:
                unit = s.running[n] // s.paying[n]
                if price < 0 or unit < price:
                    price = unit
                    free[0] = n
        if price < 0:
            return 0
        discount = price if price < offer.amount else offer.amount
        left = s.running[free[0]]
    elif offer.benefit == FIXED_PRICE:
        discount = left - offer.amount
    elif offer.benefit == PERCENT_OFF:
        discount = offer.initial if offer.base_initial else left
        discount = (discount * offer.basis_points + 5000) // 10000
    elif offer.benefit == AMOUNT_OFF:
        discount = offer.amount
    elif offer.benefit == STEPS:
        for k in range(offer.steps):
            if offer.least[k] <= spend:
                discount = offer.off[k]
    elif offer.benefit == EVERY:
        discount = spend // offer.every * offer.amount
    elif offer.benefit == MINUTES:
        discount = worth_of(s, s.taken + offer.amount) - worth_of(s, s.taken)
    if 0 <= offer.cap < discount:
        discount = offer.cap
    if discount > left:
        discount = left
    if discount > s.room:
        discount = s.room
    budget = s.budget[offer.campaign]
    if discount <= 0 or 0 <= budget < discount:
        return 0
    return discount


cdef void split(State* s, COffer* offer, int64_t amount, int64_t* share) noexcept nogil:
    """By largest remainder, ties to the earlier."""
    cdef int64_t total = 0, given = 0, product, part
    cdef int k, largest
    for k in range(offer.lines):
        total += s.running[offer.line[k]]
    for k in range(offer.lines):
        product = amount * s.running[offer.line[k]]
        if product < EXACT:  # then the quotient of doubles, rounded down, is exact and quicker
            part = <int64_t>(<double>product / <double>total)
        else:
            part = product // total
        share[k] = part
        s.rest[k] = product - part * total
        given += part
    while given < amount:
        largest = 0
        for k in range(1, offer.lines):
            if s.rest[k] > s.rest[largest]:
                largest = k
        share[largest] += 1
        s.rest[largest] = -1
        given += 1


cdef inline bint behind(State* s, int64_t discount, int64_t paid, int used) noexcept nogil:
    """Whether the best so far takes more off, or as much for less paid or by fewer coupons."""
    if discount != s.best_discount:
        return discount < s.best_discount
    if paid != s.best_paid:
        return paid > s.best_paid
    return used > s.best_used


cdef void keep(State* s, int64_t discount, int64_t paid, int64_t ends,
               int64_t names) noexcept nogil:
    """Remember what is used now if it is the best so far."""
    cdef int k
    if behind(s, discount, paid, s.used):
        return
    if discount == s.best_discount and paid == s.best_paid and s.used == s.best_used:
        if ends < s.best_ends or (ends == s.best_ends and names <= s.best_names):
            return
    s.best_discount, s.best_paid, s.best_used = discount, paid, s.used
    s.best_ends, s.best_names = ends, names
    for k in range(s.used):
        s.found[k] = s.chosen[k]


cdef void visit(State* s, int i, int64_t discount, int64_t paid, int64_t ends,
                int64_t names) noexcept nogil:
    cdef int64_t bound = s.room if s.room > 0 else 0
    cdef int64_t taken
    cdef int64_t* share
    cdef COffer* offer
    cdef int free, k
    if s.to_come[i] < bound:
        bound = s.to_come[i]
    if bound == 0:
        keep(s, discount, paid, ends, names)
        return
    # To take off more than now needs at least one coupon more.
    if behind(s, discount + bound, paid, s.used + 1):
        return
    offer = &s.offer[i]
    if joins(s, offer):
        taken = take(s, offer, &free)
        if taken:
            share = s.share[i]
            s.chosen[s.used] = i
            s.used += 1
            if i + 1 == s.offers:  # nothing comes after it that its lines could matter to
                keep(s, discount + taken, paid + offer.paid, ends + offer.end, names + offer.name)
            else:
                s.room -= taken
                if offer.benefit == MINUTES:
                    s.taken += offer.amount
                if s.budget[offer.campaign] >= 0:
                    s.budget[offer.campaign] -= taken
                if free >= 0:
                    s.running[free] -= taken
                    s.paying[free] -= 1
                else:
                    split(s, offer, taken, share)
                    for k in range(offer.lines):
                        s.running[offer.line[k]] -= share[k]
                visit(s, i + 1, discount + taken, paid + offer.paid, ends + offer.end,
                      names + offer.name)
                if free >= 0:
                    s.running[free] += taken
                    s.paying[free] += 1
                else:
                    for k in range(offer.lines):
                        s.running[offer.line[k]] += share[k]
                if s.budget[offer.campaign] >= 0:
                    s.budget[offer.campaign] += taken
                s.room += taken
                if offer.benefit == MINUTES:
                    s.taken -= offer.amount
            s.used -= 1
    visit(s, i + 1, discount, paid, ends, names)


cdef bint fill(COffer* c, offer) except -1:
    """Copy an offer; False where it has more lines or steps than there is room for."""
    cdef int k
    if len(offer.lines) > MAX_LINES or len(offer.steps) > MAX_STEPS:
        return False
    c.benefit, c.amount, c.cap = offer.benefit, offer.amount, offer.cap
    c.basis_points, c.every, c.min_spend = offer.basis_points, offer.every, offer.min_spend
    c.spend_running, c.base_initial = offer.spend_running, offer.base_initial
    c.initial, c.most = offer.initial, offer.most
    c.end, c.name, c.paid = offer.end, offer.name, offer.paid
    c.bars, c.group, c.group_limit = offer.bars, offer.group, offer.group_limit
    c.campaign, c.campaign_limit = offer.campaign, offer.campaign_limit
    c.steps, c.lines = len(offer.steps), len(offer.lines)
    for k in range(c.steps):
        c.least[k], c.off[k] = offer.steps[k]
    for k in range(c.lines):
        c.line[k] = offer.lines[k]
    return True


def search(lines, floor, offers, budgets, worth=(), taken=0, most=MOST):
    """As `_best_py.search`."""
    cdef int i, count = len(offers)
    cdef State* s
    total = sum([amount for amount, _ in lines])
    if count > MOST or total >= LARGEST or len(lines) > MAX_LINES or len(worth) > MAX_WORTH:
        return _best_py.search(lines, floor, offers, budgets, worth, taken, most)
    s = <State*>PyMem_Malloc(sizeof(State))
    if s == NULL:
        raise MemoryError
    try:
        s.offers, s.used, s.room = count, 0, total - floor
        s.taken, s.most, s.worths = taken, most, len(worth)
        for i in range(s.worths):
            s.minutes[i], s.worth[i] = worth[i]
        s.best_discount = s.best_paid = s.best_ends = s.best_names = 0
        s.best_used = 0
        for i in range(len(lines)):
            s.running[i], s.paying[i] = lines[i]
        for i in range(len(budgets)):
            s.budget[i] = budgets[i]
        for i in range(count):
            if not fill(&s.offer[i], offers[i]):
                return _best_py.search(lines, floor, offers, budgets, worth, taken, most)
        s.to_come[count] = 0
        for i in reversed(range(count)):
            s.to_come[i] = s.to_come[i + 1] + s.offer[i].most
        with nogil:
            visit(s, 0, 0, 0, 0, 0)
        return tuple([s.found[i] for i in range(s.best_used)])
    finally:
        PyMem_Free(s)
