/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/chars.h"

#define T CHARS_TEXT
#define N (CHARS_TOKEN | CHARS_SMALL | CHARS_TEXT)
#define C (CHARS_TOKEN | CHARS_TEXT)
/* Controls, but for the tab, and DEL are of no class. */
/* clang-format off */
const uint8_t chars_classes[256] = {
	['\t'] = T,
	/*         !  "  #  $  %  &  '  (  )  *  +  ,  -  .  /   */
	[0x20] = T, N, T, N, N, N, N, N, T, T, N, N, T, N, N, T,
	/* 0 to 9                       :  ;  <  =  >  ?         */
	[0x30] = N, N, N, N, N, N, N, N, N, N, T, T, T, T, T, T,
	/* @, A to Z                                             */
	[0x40] = T, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
	/*                                  [  \  ]  ^  _        */
	[0x50] = C, C, C, C, C, C, C, C, C, C, C, T, T, T, N, N,
	/* `, a to z                                             */
	[0x60] = N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N,
	/*                                  {  |  }  ~           */
	[0x70] = N, N, N, N, N, N, N, N, N, N, N, T, N, T, N, 0,
	[0x80 ... 0xff] = T,
};
/* clang-format on */
