/* SPDX-License-Identifier: MIT
 *
 * For tests only: keeps many values in registers over arch_switch() and returns which of them came
 * back changed, a bit each. Which registers it gets is up to the compiler here; the empty asm hides
 * where the values come from, so that they cannot be computed anew.
 */
#ifndef ARCH_PROBE_H
#define ARCH_PROBE_H

/* The C library's swapcontext() is not described for unwinders at every instruction. */
#define PROBE_UNWINDS_MID_SWITCH false

static inline uint64_t probe_hide(uint64_t value)
{
        __asm__("" : "+r"(value));
        return value;
}

static inline double probe_hide_double(double value)
{
        double volatile hidden = value;

        return hidden;
}

static inline unsigned probe_switch(struct arch_context *from, struct arch_context *to,
                                    uint64_t seed)
{
        uint64_t a = probe_hide(seed + 1), b = probe_hide(seed + 2), c = probe_hide(seed + 3);
        uint64_t d = probe_hide(seed + 4), e = probe_hide(seed + 5), f = probe_hide(seed + 6);
        double small = (double)(seed & 0xffff);
        double g = probe_hide_double(small + 0.25), h = probe_hide_double(small + 0.5);

        arch_switch(from, to);
        return (a != seed + 1) << 0 | (b != seed + 2) << 1 | (c != seed + 3) << 2 |
               (d != seed + 4) << 3 | (e != seed + 5) << 4 | (f != seed + 6) << 5 |
               (g != small + 0.25) << 6 | (h != small + 0.5) << 7;
}

#endif
