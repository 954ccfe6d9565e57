/* SPDX-License-Identifier: MIT
 *
 * The leaf of the matrix multiplication, its inputs and its check, the same as everybody's, for the
 * Go package: cgo compiles what lies in the package's folder only.
 */
#include "../../common/clock.c"
#include "../../common/matmul.c"
