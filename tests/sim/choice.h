/*
 * Choices: everything that a history may decide, from one string of bytes.
 *
 *	head     CHOICE_HEAD bytes: the world and its faults (history.h)
 *	act      CHOICE_ACT bytes each: what a person or a fault does, and in
 *	         its last two bytes the weather that follows
 *	tail     up to CHOICE_TAIL bytes, one for each setting that came after
 *	         the head was full; where they are missing they are 0, and the
 *	         history is what it was before there was a tail
 *
 * The weather seeds a generator for what happens thousands of times (how long
 * an effect takes, which call fails), so that a history stays short enough to
 * be read and cut.  Weather 0 is calm: everything takes the shortest time and
 * nothing fails.  All choices are made so that a lower byte is the simpler
 * thing; an act can be cut out without moving the bytes of another.
 *
 * The bytes come from a seed, from a file, from the shrinker or a fuzzer.
 */
#ifndef HOLDFAST_TESTS_SIM_CHOICE_H
#define HOLDFAST_TESTS_SIM_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/rng.h"

#define CHOICE_HEAD 64u
#define CHOICE_ACT 16u
#define CHOICE_ACTS_MAX 160u
#define CHOICE_TAIL 15u /* less than an act */
#define CHOICE_LEN_MAX                                                         \
	(CHOICE_HEAD + CHOICE_ACT * CHOICE_ACTS_MAX + CHOICE_TAIL)

struct choice {
	const uint8_t *byte; /* borrowed */
	size_t len;
	size_t at, end; /* of the head, or of the act in work */
	size_t next;    /* where the next act begins */
	bool calm;
	struct rng weather;
};

/* The bytes that a seed stands for; at most CHOICE_LEN_MAX; how many. */
size_t choice_of_seed(uint64_t seed, uint8_t out[CHOICE_LEN_MAX]);
/* The length of such bytes without their tail. */
size_t choice_without_tail(size_t len);

void choice_init(struct choice *c, const uint8_t *byte, size_t len);
/* The next act; false when there is none. */
bool choice_act(struct choice *c);
/* 0 .. n-1, from the head or the act; 0 where its bytes are used up. */
uint32_t choice_below(struct choice *c, uint32_t n);
/* One in 2^k; k is at most 8. */
bool choice_one_in(struct choice *c, uint32_t n);
/* Byte `i` of the tail; 0 where there is none. */
uint8_t choice_tail(const struct choice *c, uint32_t i);
/* Is there such a byte?  For what is no setting of its own. */
bool choice_has_tail(const struct choice *c, uint32_t i);
/* 0 .. n-1, from the weather. */
uint64_t choice_weather(struct choice *c, uint64_t n);
/* True in one of `n`; never when n is 0, or when it is calm. */
bool choice_strikes(struct choice *c, uint32_t n);

#endif
