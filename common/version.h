/* SPDX-License-Identifier: Apache-2.0 */
/* The release; people read it, HELLO carries it, the schema hash decides whether daemons understand each other. */
#pragma once

#define BULKHEAD_VERSION "0.1.0"
