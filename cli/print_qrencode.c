/* A QR code on a terminal, two rows of it in one line of text. */
#include "cli/print.h"

#include <qrencode.h>

#define PRINT_QR_BORDER 2

static bool
print_qr_is_dark(const QRcode *qr, int x, int y)
{
	if (x < 0 || y < 0 || x >= qr->width || y >= qr->width)
		return false;
	return (qr->data[y * qr->width + x] & 1) != 0;
}

bool
print_qr(FILE *f, const char *text)
{
	/* Light is drawn and dark left out: that reads on dark terminals, and
	 * on light ones after an inversion that every reader knows. */
	static const char *const block[] = { " ", "\u2584", "\u2580",
		"\u2588" };
	QRcode *qr = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);

	if (qr == NULL)
		return false;
	for (int y = -PRINT_QR_BORDER; y < qr->width + PRINT_QR_BORDER;
	     y += 2) {
		for (int x = -PRINT_QR_BORDER; x < qr->width + PRINT_QR_BORDER;
		     x++) {
			const int up = !print_qr_is_dark(qr, x, y);
			const int down = !print_qr_is_dark(qr, x, y + 1);

			fputs(block[up * 2 + down], f);
		}
		fputc('\n', f);
	}
	QRcode_free(qr);
	return true;
}
