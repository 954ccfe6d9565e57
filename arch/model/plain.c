/* SPDX-License-Identifier: MIT
 *
 * Plain memory that passes between threads: two accesses of which one writes must be ordered by
 * happens-before, which is what the clocks in front of each view say. And memory that has gone.
 */
#include <string.h>

#include "state.h"

/* A plain word of four bytes: who wrote and read it last. */
struct cell {
        unsigned run;
        const void *address;
        int16_t written, read[MODEL_THREADS];
        uint8_t writer;
        const char *gone;
        unsigned line; /* of the last write, or where it went */
        const char *file;
};

static struct cell cells[CELLS];
static unsigned used;

void model_plain_begin(void)
{
        used = 0;
}

static struct cell *cell_of(const void *address)
{
        unsigned i = (unsigned)((uint32_t)((uintptr_t)address >> 2) * 2654435761u) % CELLS;

        for (;; i = (i + 1) % CELLS) {
                if (cells[i].run == model.run && cells[i].address == address)
                        return &cells[i];
                if (cells[i].run != model.run)
                        break;
        }
        if (++used > CELLS / 2)
                model_fail("the model has no room for more plain words");
        cells[i] = (struct cell){.run = model.run, .address = address};
        return &cells[i];
}

static void check(struct cell *cell, bool write, const char *file, int line)
{
        const struct thread *t = model.current;

        if (cell->gone)
                model_fail("%s:%d: plain use of memory that has gone at %s:%u", file, line,
                           cell->gone, cell->line);
        if (cell->written > t->seen[cell->writer])
                model_fail("%s:%d: race with the plain write by thread %u at %s:%u", file, line,
                           cell->writer, cell->file, cell->line);
        for (unsigned k = 0; write && k < model.threads; k++)
                if (cell->read[k] > t->seen[k])
                        model_fail("%s:%d: race with a plain read by thread %u", file, line, k);
}

void model_plain(const void *address, size_t bytes, bool write, const char *file, int line)
{
        unsigned self;

        if (!model.running)
                return;
        self = thread_index(model.current);
        for (size_t i = 0; i < bytes; i += 4) {
                struct cell *cell = cell_of((const char *)address + i);

                check(cell, write, file, line);
                if (write) {
                        cell->written = model.current->seen[self];
                        cell->writer = (uint8_t)self;
                        cell->file = file;
                        cell->line = (unsigned)line;
                } else {
                        cell->read[self] = model.current->seen[self];
                }
        }
}

void model_gone(const void *address, size_t bytes, const char *file, int line)
{
        if (!model.running)
                return;
        model_plain(address, bytes, true, file, line);
        for (size_t i = 0; i < bytes; i += 4) {
                struct cell *cell = cell_of((const char *)address + i);

                cell->gone = file;
                cell->line = (unsigned)line;
        }
        model_memory_gone(address, bytes, file, line);
}

void model_new(const void *address, size_t bytes)
{
        if (!model.running)
                return;
        for (size_t i = 0; i < bytes; i += 4) {
                struct cell *cell = cell_of((const char *)address + i);

                *cell = (struct cell){.run = model.run, .address = cell->address};
        }
        model_memory_new(address, bytes);
}
