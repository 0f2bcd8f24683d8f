/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/chars.h"

#define T CHARS_TEXT
#define P (CHARS_PATH | CHARS_TEXT)
#define N (CHARS_TOKEN | CHARS_SMALL | CHARS_TEXT)
#define S (CHARS_PATH | N)
#define C (CHARS_PATH | CHARS_TOKEN | CHARS_TEXT)
/* Controls, but for the tab, and DEL are of no class. */
/* clang-format off */
const uint8_t chars_classes[256] = {
	['\t'] = T,
	/*         !  "  #  $  %  &  '  (  )  *  +  ,  -  .  /   */
	[0x20] = T, S, P, N, S, N, S, S, P, P, S, S, P, S, S, T,
	/* 0 to 9                       :  ;  <  =  >  ?         */
	[0x30] = S, S, S, S, S, S, S, S, S, S, P, P, P, P, P, T,
	/* @, A to Z                                             */
	[0x40] = P, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
	/*                                  [  \  ]  ^  _        */
	[0x50] = C, C, C, C, C, C, C, C, C, C, C, P, T, P, S, S,
	/* `, a to z                                             */
	[0x60] = S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
	/*                                  {  |  }  ~           */
	[0x70] = S, S, S, S, S, S, S, S, S, S, S, P, S, P, S, 0,
	[0x80 ... 0xff] = T,
};
/* clang-format on */
