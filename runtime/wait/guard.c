/* SPDX-License-Identifier: MIT
 *
 * Overrun stacks: the fault handler recognises the guard of the running stack and switches to the
 * thread's own stack, where the report is made in ordinary code, with the job function's name.
 * Every other fault goes to the handler that was there before.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "wait/stack.h"

static struct sigaction before;

static bool in_guard(const struct worker *w, uintptr_t address)
{
        uintptr_t low;

        if (!w || !w->stack)
                return false;
        low = (uintptr_t)w->stack->low;
        return address >= low && address < low + KERNEL_GUARD_BYTES;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
        if (before.sa_flags & SA_SIGINFO) {
                before.sa_sigaction(number, info, context);
        } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
                before.sa_handler(number);
        } else if (before.sa_handler == SIG_IGN && info->si_code <= 0) {
                return; /* sent, and ignored as it would have been */
        } else {
                /* Back to the default: the faulting instruction runs again and ends the process
                 * the way it would have without us. */
                sigaction(number, &before, NULL);
                if (info->si_code <= 0)
                        raise(number); /* sent, not caused: it would not come again */
        }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
        struct worker *w = self_get();
        struct arch_context nowhere;

        if (info->si_code <= 0 || !in_guard(w, (uintptr_t)info->si_addr)) {
                pass_on(number, info, context);
                return;
        }
        w->fault = "stack overflow (see stack_bytes in struct skua_options)";
        arch_switch(&nowhere, &w->thread_context);
}

int guard_install(void)
{
        static bool installed;
        struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

        process_lock();
        if (!installed && !sigaction(SIGSEGV, NULL, &before)) {
                sigemptyset(&action.sa_mask);
                installed = !sigaction(SIGSEGV, &action, NULL);
        }
        process_unlock();
        return installed ? 0 : -EINVAL;
}

size_t guard_thread_bytes(void)
{
        size_t least = getauxval(AT_MINSIGSTKSZ);

        return (least > 8192 ? least : 8192) + 16384;
}

void guard_thread(void *memory, size_t bytes)
{
        stack_t alternate = {
                .ss_sp = memory, .ss_size = bytes, .ss_flags = memory ? 0 : SS_DISABLE};

        sigaltstack(&alternate, NULL);
}

void guard_report(struct worker *w)
{
        worker_report(w, w->fault);
        abort();
}
