# SPDX-License-Identifier: MIT
#
# Flags of single files, after the common ones and before the user's: CFLAGS_<file without .c>.
CFLAGS_bench/baseline/recursion_o2 := -O2
CFLAGS_bench/baseline/recursion_o3 := -O3
CFLAGS_bench/common/matmul := -O3
CFLAGS_bench/common/forked := -O3
LDLIBS_bench := -lm
