/*
 * filter_bloom: the bits that a name has in the original's bloom filters: Murmur3 (128 bits, x64), whose lower half gives two hashes
 * that are combined for each bit.
 */
#include "workers/broker/filter_bloom.h"

#include <math.h>

#define MURMUR_C1 0x87c37b91114253d5u
#define MURMUR_C2 0x4cf5ad432745937fu

static uint64_t
le64(const char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)(unsigned char)p[i] << (8 * i);
	return v;
}

static uint64_t
rotate(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

static uint64_t
mix_low(uint64_t k)
{
	return rotate(k * MURMUR_C1, 31) * MURMUR_C2;
}

static uint64_t
mix_high(uint64_t k)
{
	return rotate(k * MURMUR_C2, 33) * MURMUR_C1;
}

static uint64_t
finish(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}

static uint64_t
murmur_low(struct slice s)
{
	uint64_t low = 0, high = 0, total = s.n;

	for (; s.n >= 16; s.p += 16, s.n -= 16) {
		low = (rotate(low ^ mix_low(le64(s.p, 8)), 27) + high) * 5 + 0x52dce729;
		high = (rotate(high ^ mix_high(le64(s.p + 8, 8)), 31) + low) * 5 + 0x38495ab5;
	}
	if (s.n > 8)
		high ^= mix_high(le64(s.p + 8, s.n - 8));
	if (s.n > 0)
		low ^= mix_low(le64(s.p, MIN_OF(s.n, (size_t)8)));
	low ^= total;
	high ^= total;
	low += high;
	high += low;
	return finish(low) + finish(high);
}

static double
log_of(double base, double v)
{
	return log(v) / log(base);
}

bool
bloom_of(int32_t error_percent, int32_t names, struct slice name, struct bloom *out)
{
	double error = error_percent / 100.0, bits;
	uint64_t hash = murmur_low(name);

	if (error_percent < 1 || error_percent > 99 || names < 1)
		return false;
	bits = 8 * ceil(ceil(names * log_of(2, 1 / error) * log_of(2, M_E)) / 8);
	if (bits > INT32_MAX)
		return false;
	out->bit_num = (int32_t)bits;
	out->count = (unsigned)ceil(log_of(0.5, error));
	for (unsigned i = 0; i < out->count; i++) {
		int32_t mixed = (int32_t)((uint32_t)hash + (i + 1) * (uint32_t)(hash >> 32));

		out->bits[i] = (mixed < 0 ? ~mixed : mixed) % out->bit_num;
	}
	return true;
}
