/*
 * Letters and digits of ASCII, whatever the locale.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_BASE_ASCII_H
#define HOLDFAST_BASE_ASCII_H

#include <stdint.h>

static inline uint8_t
ascii_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* The value of a hexadecimal digit in lower case; -1: it is none. */
static inline int
ascii_hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
