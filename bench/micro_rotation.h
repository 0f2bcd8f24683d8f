/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Credentials a second that a rotation of tenant keys rewraps: as the core and authd do it, in batches of 64, with a
 * real database, but in one process. Negative when it could not be measured. */
double micro_rotation(void);
