/*
 * crc: CRC-32 (IEEE 802.3), as java.util.zip.CRC32. By libdeflate.
 */
#ifndef COMMON_CRC_H
#define COMMON_CRC_H

#include "common/base.h"

uint32_t	crc32_of(const void *p, size_t n);
/* Goes on from an earlier result (0 to begin). */
uint32_t	crc32_more(uint32_t crc, const void *p, size_t n);

#endif
